// SPDX-License-Identifier: Apache-2.0
// mf_info.h: what this machine and this build give, fact by fact.
#include "memfabric/mf_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/process.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/plugin.h"
#include "gva/memory.h"
#include "smem.h"
#include "transport/direct/direct.h"
#include "transport/transport.h"
#include "xcopy/cpu_copy.h"

struct visit {
    mf_info_fn fn;
    void *arg;
    struct mf_process *process;
};

const char *mf_version(void)
{
    return MF_VERSION;
}

static void tell(const struct visit *v, const char *section, const char *name, const char *value,
                 const char *note, int available)
{
    mf_info_item_t item = {section, name, value, note, available};
    v->fn(v->arg, &item);
}

/* First line of a small file, without its end; "" when it cannot be read. */
static void read_line(const char *path, char *buf, size_t len)
{
    FILE *f = fopen(path, "re");
    buf[0] = '\0';
    if (f != NULL) {
        if (fgets(buf, (int)len, f) != NULL) {
            buf[strcspn(buf, "\n")] = '\0';
        }
        fclose(f);
    }
}

static void tell_library(const struct visit *v)
{
    char text[160];
    struct utsname un;
    snprintf(text, sizeof(text), "%s, ABI 0x%08x", MF_VERSION, smem_get_abi_version());
    tell(v, "library", "version", text, "", -1);
    if (uname(&un) == 0) {
        snprintf(text, sizeof(text), "%.60s %.60s", un.sysname, un.release);
        tell(v, "library", "system", text, "", -1);
        tell(v, "processor", "architecture", un.machine, "", -1);
    }
    snprintf(text, sizeof(text), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    tell(v, "processor", "cores online", text, "", -1);
}

static void tell_copy(const struct visit *v)
{
    char text[512];
    struct mf_cpu_copy *copier = NULL;
    for (uint32_t i = 0; mf_copy_kernels[i] != NULL; i++) {
        bool can = mf_copy_kernels[i]->supported() != 0;
        tell(v, "copy", mf_copy_kernels[i]->name, can ? "available" : "not available",
             can ? "" : "this processor lacks the instructions", can);
    }
    if (mf_cpu_copy_create(&v->process->env, &v->process->config, &copier) == SMEM_OK) {
        mf_cpu_copy_explain(copier, text, sizeof(text));
        tell(v, "copy", "chosen", text, "", -1);
        mf_cpu_copy_destroy(copier);
    } else {
        tell(v, "copy", "chosen", "not known", mf_err_msg(), 0);
    }
}

static void tell_devices(const struct visit *v)
{
    struct mf_dev_probe probes[16];
    uint32_t count = mf_dev_probe_all(&v->process->env, &v->process->config, probes, 16);
    for (uint32_t i = 0; i < count && i < 16; i++) {
        char text[64];
        snprintf(text, sizeof(text), "%u device%s", probes[i].count,
                 probes[i].count == 1 ? "" : "s");
        tell(v, "device", probes[i].name, text, probes[i].why, probes[i].count > 0);
    }
}

static void tell_transports(const struct visit *v)
{
    struct mf_transport_registry *registry = NULL;
    struct mf_plugin_host host;
    if (mf_transport_registry_create(&v->process->env, &v->process->config, &registry) != SMEM_OK) {
        tell(v, "transport", "registry", "not available", mf_err_msg(), 0);
        return;
    }
    mf_plugin_host_init(&host, &v->process->env);
    const struct mf_transport_entry *entry;
    for (uint32_t i = 0; (entry = mf_transport_at(registry, i)) != NULL; i++) {
        char text[64];
        bool can = entry->ops.probe(&host) == SMEM_OK;
        snprintf(text, sizeof(text), "%s, operators 0x%x", can ? "available" : "not available",
                 entry->ops.data_ops);
        tell(v, "transport", entry->ops.name, text, can ? "" : mf_err_msg(), can);
    }
    mf_transport_registry_destroy(registry);
    char value[32], note[256];
    int allowed = mf_direct_vm_explain(value, sizeof(value), note, sizeof(note));
    tell(v, "transport", "process_vm_readv", value, note, allowed);
}

static void tell_memory(const struct visit *v)
{
    char text[128], why[256];
    uint64_t bytes = mf_memory_available(why, sizeof(why));
    snprintf(text, sizeof(text), "%" PRIu64 " MiB", bytes >> 20);
    tell(v, "memory", "may be allocated", text, why, -1);
    read_line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", text, sizeof(text));
    bool huge = text[0] != '\0' && strcmp(text, "0") != 0;
    tell(v, "memory", "2 MiB pages free", text[0] != '\0' ? text : "none",
         huge
             ? ""
             : "pools use ordinary pages; as root: echo N > /proc/sys/vm/nr_hugepages (N = bytes / "
               "2 MiB)",
         huge);
    read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", text, sizeof(text));
    bool thp = strstr(text, "[always]") != NULL || strstr(text, "[advise]") != NULL ||
               strstr(text, "[within_size]") != NULL;
    tell(v, "memory", "transparent huge pages of shared memory", text[0] != '\0' ? text : "none",
         thp ? "" : "as root: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled",
         thp);
}

static void tell_limits(const struct visit *v)
{
    char text[64];
    struct rlimit rl;
    const struct {
        const char *name;
        unsigned long long value;
    } all[] = {{"ranks of a world", MF_WORLD_MAX},
               {"pools", MF_POOLS_MAX},
               {"copying threads of a process", MF_THREADS_MAX},
               {"elements of a batch", MF_BATCH_MAX},
               {"DRAM of a rank, bytes", MF_DRAM_LOCAL_MAX},
               {"HBM of a rank, bytes", MF_HBM_LOCAL_MAX}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        snprintf(text, sizeof(text), "%llu", all[i].value);
        tell(v, "limit", all[i].name, text, "", -1);
    }
    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)rl.rlim_cur);
        tell(v, "limit", "open files (ulimit -n)", text,
             rl.rlim_cur < 2 * MF_WORLD_MAX ? "a rank needs about two for each peer of its host"
                                            : "",
             -1);
    }
    read_line("/proc/sys/vm/max_map_count", text, sizeof(text));
    tell(v, "limit", "mappings of a process (vm.max_map_count)", text, "", -1);
}

int32_t mf_info_visit(mf_info_fn fn, void *arg)
{
    struct visit v = {.fn = fn, .arg = arg};
    if (fn == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "mf_info_visit: fn is NULL");
    }
    int rc = mf_process_get(&v.process);
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "mf_info_visit");
    }
    tell_library(&v);
    tell_copy(&v);
    tell_devices(&v);
    tell_transports(&v);
    tell_memory(&v);
    tell_limits(&v);
    return SMEM_OK;
}

int32_t mf_info_visit_options(mf_info_option_fn fn, void *arg)
{
    static const char *const TYPES[] = {
        [MF_OPT_TYPE_U64] = "number", [MF_OPT_TYPE_BOOL] = "switch", [MF_OPT_TYPE_STR] = "text"};
    struct mf_process *process = NULL;
    if (fn == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "mf_info_visit_options: fn is NULL");
    }
    int rc = mf_process_get(&process);
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "mf_info_visit_options");
    }
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        const struct mf_opt_info *info = mf_opt_info((enum mf_opt)id);
        mf_info_option_t option = {.name = info->name,
                                   .env = info->env,
                                   .type = TYPES[info->type],
                                   .unit = info->unit,
                                   .default_value = info->def,
                                   .value = process->config.v[id].str,
                                   .help = info->help,
                                   .is_default = process->config.v[id].is_default};
        fn(arg, &option);
    }
    return SMEM_OK;
}

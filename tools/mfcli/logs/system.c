// SPDX-License-Identifier: Apache-2.0
// The facts of a report: what the tool itself says (asked in child processes, so that a plug-in
// that hangs or crashes does not take the report with it), options and environment without secrets,
// files of /proc and /sys, control groups, and the kernel's messages.
#include "collect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "memfabric/mf_info.h"
#include "redact.h"
#include "replay/pause.h"
#include "smem.h"

#define CHILD_MS      30000u
#define FILE_BYTES    (1u << 20) /* of a file of /proc */
#define KERNEL_BYTES  (16u << 20)
#define KLOG_READ_ALL 3
#define KLOG_SIZE     10
#define PATH_BYTES    4096u

extern char **environ;

/* ---- what the tool says --------------------------------------------------------------------- */

/* Runs in the child. */
static void become_tool(char *const *words, int out)
{
    int null = open("/dev/null", O_RDONLY);

    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv("/proc/self/exe", words);
    _exit(127);
}

/* All that comes until the end or the deadline. @return false at the deadline */
static bool read_all(int in, FILE *to)
{
    uint64_t until = now_ms() + CHILD_MS;
    char buffer[4096];

    for (;;) {
        struct pollfd one = {.fd = in, .events = POLLIN};
        uint64_t now = now_ms();
        ssize_t got = 0;

        if (now >= until) {
            return false;
        }
        if (poll(&one, 1, (int)(until - now)) <= 0) {
            continue;
        }
        got = read(in, buffer, sizeof(buffer));
        if (got <= 0) {
            return true;
        }
        fwrite(buffer, 1, (size_t)got, to);
    }
}

static void take_command(struct collect *collect, const char *name, char *const *words)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    int ends[2] = {-1, -1}, status = 0;
    pid_t pid = -1;
    bool ended = false;

    if (!file || pipe2(ends, O_CLOEXEC) || (pid = fork()) < 0) {
        collect_note(collect, name, 0, strerror(errno));
    } else if (pid == 0) {
        become_tool(words, ends[1]);
    } else {
        close(ends[1]);
        ends[1] = -1;
        ended = read_all(ends[0], file);
        if (!ended) {
            kill(pid, SIGKILL);
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        fflush(file);
        collect_text(collect, name, text,
                     !ended   ? "not done in time: cut"
                     : status ? "the command failed, as it says"
                              : "");
    }
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) {
            close(ends[i]);
        }
    }
    if (file) {
        fclose(file);
    }
    free(text);
}

static void take_tool(struct collect *collect)
{
    static char tool[] = "mfcli", version[] = "version", info[] = "info", mem[] = "mem",
                scan[] = "scan", json[] = "--json";
    char *const asked_version[] = {tool, version, json, NULL};
    char *const asked_info[] = {tool, info, json, NULL};
    char *const asked_mem[] = {tool, mem, scan, json, NULL};

    take_command(collect, "version.json", asked_version);
    take_command(collect, "info.json", asked_info);
    take_command(collect, "mem.json", asked_mem);
}

/* ---- options and environment ---------------------------------------------------------------- */

static void print_option(void *arg, const mf_info_option_t *option)
{
    bool hide = !option->is_default && (redact_wanted(option->name, option->value) ||
                                        redact_wanted(option->env, option->value));

    fprintf(arg, "%s%s=%s\n", option->is_default ? "  " : "* ", option->env,
            hide ? REDACTED : option->value);
}

static bool is_wanted(const char *entry)
{
    static const char *const names[] = {
        "MF_", "ASCEND_", "CUDA_", "HCOM_", "HCCL_", "LD_LIBRARY_PATH=", "LD_PRELOAD=",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(entry, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void print_variable(FILE *file, const char *entry)
{
    const char *equals = strchr(entry, '=');
    char *name = NULL;

    if (!equals) {
        return;
    }
    name = cli_text("%.*s", (int)(equals - entry), entry);
    fprintf(file, "%s=%s\n", name, redact_wanted(name, equals + 1) ? REDACTED : equals + 1);
    free(name);
}

static void take_settings(struct collect *collect)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);

    if (file && mf_info_visit_options(print_option, file) != SMEM_OK) {
        fprintf(file, "%s\n", smem_get_last_err_msg());
    }
    if (file && fclose(file) == 0) {
        collect_text(collect, "options.txt", text, "* marks what is not the default");
    }
    free(text);
    file = open_memstream(&text, &bytes);
    for (char **entry = environ; file && *entry; entry++) {
        if (is_wanted(*entry)) {
            print_variable(file, *entry);
        }
    }
    if (file && fclose(file) == 0) {
        collect_text(collect, "environment.txt", text, "");
    }
    free(text);
}

/* ---- files of the system -------------------------------------------------------------------- */

/* Files of /proc and /sys have no size, so they are read first. */
static void take_system_file(struct collect *collect, const char *path, bool say_missing)
{
    char *text = cli_alloc(FILE_BYTES + 1, 1);
    char *name = cli_text("system%s", path);
    FILE *file = fopen(path, "re");
    size_t got = 0;

    if (file) {
        got = fread(text, 1, FILE_BYTES, file);
        text[got] = '\0';
        fclose(file);
        collect_text(collect, name, text, got == FILE_BYTES ? "cut: the first MiB" : "");
    } else if (say_missing) {
        collect_note(collect, name, 0, strerror(errno));
    }
    free(name);
    free(text);
}

static void take_system_files(struct collect *collect)
{
    static const char *const paths[] = {
        "/etc/os-release",
        "/proc/version",
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/proc/loadavg",
        "/proc/buddyinfo",
        "/proc/self/limits",
        "/proc/self/cgroup",
        "/proc/self/status",
        "/proc/sys/vm/nr_hugepages",
        "/proc/sys/vm/nr_overcommit_hugepages",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/vm/max_map_count",
        "/proc/sys/kernel/yama/ptrace_scope",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
        "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages",
        "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages",
        "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages",
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        take_system_file(collect, paths[i], true);
    }
}

/* The group in `dir` and all above it. */
static void take_groups_above(struct collect *collect, char *dir, const char *top)
{
    static const char *const names[] = {
        "memory.max",      "memory.high",           "memory.current",
        "memory.events",   "memory.limit_in_bytes", "memory.usage_in_bytes",
        "hugetlb.2MB.max", "hugetlb.2MB.current",   "pids.max",
    };

    for (;;) {
        char *slash = NULL;

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            char *path = cli_text("%s/%s", dir, names[i]);

            take_system_file(collect, path, false);
            free(path);
        }
        slash = strrchr(dir, '/');
        if (strlen(dir) <= strlen(top) || !slash) {
            return;
        }
        *slash = '\0';
    }
}

static void take_groups(struct collect *collect)
{
    char line[PATH_BYTES], dir[PATH_BYTES + 64];
    FILE *file = fopen("/proc/self/cgroup", "re");

    while (file && fgets(line, sizeof(line), file)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        const char *top = NULL;

        if (!group) {
            continue;
        }
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (controllers[1] == '\0') {
            top = "/sys/fs/cgroup";
        } else if (strcmp(controllers + 1, "memory") == 0) {
            top = "/sys/fs/cgroup/memory";
        } else {
            continue;
        }
        snprintf(dir, sizeof(dir), "%s%s", top, strcmp(group, "/") == 0 ? "" : group);
        take_groups_above(collect, dir, top);
    }
    if (file) {
        fclose(file);
    }
}

/* ---- the kernel's messages ------------------------------------------------------------------ */

static bool is_relevant(const char *line)
{
    static const char *const words[] = {
        "mfcli",          "out of memory", "oom",      "killed process", "hugetlb",
        "huge page",      "memfd",         "segfault", "traps",          "general protection",
        "hardware error", "mce:",          "numa",     "cgroup",         "mlx",
        "infiniband",     "nvrm",          "xid",      "hung task",      "blocked for more",
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasestr(line, words[i])) {
            return true;
        }
    }
    return false;
}

static void take_kernel(struct collect *collect)
{
    int size = klogctl(KLOG_SIZE, NULL, 0);
    char *all = NULL, *text = NULL, *rest = NULL;
    size_t bytes = 0;
    FILE *file = NULL;
    int got = -1;

    size = size > 0 && size < (int)KERNEL_BYTES ? size : (int)KERNEL_BYTES;
    all = cli_alloc((size_t)size + 1, 1);
    got = klogctl(KLOG_READ_ALL, all, size);
    if (got < 0) {
        collect_note(collect, "dmesg.txt", 0,
                     errno == EPERM ? "not readable by this user: add the output of dmesg"
                                    : strerror(errno));
    } else {
        file = open_memstream(&text, &bytes);
        for (char *line = strtok_r(all, "\n", &rest); file && line;
             line = strtok_r(NULL, "\n", &rest)) {
            if (is_relevant(line)) {
                fprintf(file, "%s\n", line);
            }
        }
        if (file && fclose(file) == 0) {
            collect_text(collect, "dmesg.txt", text, "only lines about memory and devices");
        }
    }
    free(text);
    free(all);
}

void collect_system(struct collect *collect)
{
    take_tool(collect);
    take_settings(collect);
    take_system_files(collect);
    take_groups(collect);
    take_kernel(collect);
}

// SPDX-License-Identifier: Apache-2.0
// Opens a shared object, finds the one symbol that a plug-in exports and checks what it points at.
// The ABI number is in the symbol's name, so a plug-in of another ABI is told apart from what is
// none.
#include "base/plugin.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

/* Other ABI numbers that are looked for, to name them in the refusal. */
#define OTHER_ABI_MAX  64u
#define NAME_MAX_BYTES 15u
#define LOG_LINE_MAX   1024

struct mf_plugin_lib {
    void *handle;
};

static const struct mf_plugin *find_symbol(void *handle, unsigned abi)
{
    char symbol[32];
    snprintf(symbol, sizeof(symbol), "mf_plugin_v%u", abi);
    return dlsym(handle, symbol);
}

/* Why there is no symbol of our ABI. */
static int refuse_other_abi(void *handle, const char *path)
{
    for (unsigned abi = 0; abi <= OTHER_ABI_MAX; abi++) {
        if (abi != MF_PLUGIN_ABI && find_symbol(handle, abi)) {
            return mf_err(
                SMEM_INVALID_PARAM,
                "plug-in %s: built for plug-in ABI %u, this library has ABI %u: rebuild it "
                "against these headers",
                path, abi, (unsigned)MF_PLUGIN_ABI);
        }
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "plug-in %s: not a plug-in: it exports no symbol mf_plugin_v%u", path,
                  (unsigned)MF_PLUGIN_ABI);
}

/* [a-z0-9_]{1,15}; reads no further than one byte behind the longest name. */
static bool is_valid_name(const char *name)
{
    size_t len = strnlen(name, NAME_MAX_BYTES + 1);
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_') {
            return false;
        }
    }
    return len >= 1 && len <= NAME_MAX_BYTES;
}

static int check_plugin(const struct mf_plugin *plugin, const char *path)
{
    if (plugin->abi != MF_PLUGIN_ABI) {
        return mf_err(
            SMEM_INVALID_PARAM,
            "plug-in %s: says ABI %u under the symbol of ABI %u: set .abi = MF_PLUGIN_ABI", path,
            (unsigned)plugin->abi, (unsigned)MF_PLUGIN_ABI);
    }
    if (plugin->size < sizeof(*plugin)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "plug-in %s: its struct mf_plugin has %u bytes, this library needs %zu: set "
                      ".size = sizeof(struct mf_plugin) and rebuild it against these headers",
                      path, (unsigned)plugin->size, sizeof(*plugin));
    }
    if (!plugin->name || !is_valid_name(plugin->name)) {
        return mf_err(SMEM_INVALID_PARAM,
                      "plug-in %s: name \"%.32s\" is not of the form [a-z0-9_]{1,%u}", path,
                      plugin->name ? plugin->name : "(null)", NAME_MAX_BYTES);
    }
    if (!plugin->device && !plugin->transport) {
        return mf_err(SMEM_INVALID_PARAM, "plug-in %s: %s has neither a device nor a transport",
                      path, plugin->name);
    }
    return SMEM_OK;
}

int mf_plugin_open(const char *path, struct mf_plugin_lib **out, const struct mf_plugin **plugin)
{
    *out = NULL;
    *plugin = NULL;
    if (!strchr(path, '/')) {
        return mf_err(SMEM_INVALID_PARAM,
                      "plug-in \"%s\": not a path; write ./%s for a file of the current directory",
                      path, path);
    }
    struct mf_plugin_lib *lib = mf_calloc(1, sizeof(*lib), "plug-in");
    if (!lib) {
        return SMEM_MALLOC_FAILED;
    }
    int rc;
    lib->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib->handle) {
        const char *why = dlerror();
        rc = mf_err(SMEM_NOT_EXIST, "plug-in %s: %s", path, why ? why : "cannot be opened");
        goto free_lib;
    }
    const struct mf_plugin *found = find_symbol(lib->handle, MF_PLUGIN_ABI);
    rc = found ? check_plugin(found, path) : refuse_other_abi(lib->handle, path);
    if (rc) {
        goto close_handle;
    }
    *out = lib;
    *plugin = found;
    return SMEM_OK;
close_handle:
    dlclose(lib->handle);
free_lib:
    mf_free(lib);
    return rc;
}

void mf_plugin_close(struct mf_plugin_lib *lib)
{
    if (lib) {
        dlclose(lib->handle);
        mf_free(lib);
    }
}

static int host_err(int rc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int host_err(int rc, const char *fmt, ...)
{
    /* A plug-in's mistake in the code is not a broken invariant of ours. */
    int code = rc < 0 ? rc : SMEM_ERROR;
    va_list args;
    va_start(args, fmt);
    mf_err_v(code, fmt, args);
    va_end(args);
    return code;
}

static void host_log(const struct mf_plugin_host *host, int level, const char *area,
                     const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void host_log(const struct mf_plugin_host *host, int level, const char *area,
                     const char *fmt, ...)
{
    const struct mf_env *env = host->impl;
    if (!mf_log_enabled(env->log, level)) {
        return;
    }
    char text[LOG_LINE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    mf_log_write(env->log, level, area, "%s", text);
}

static uint64_t host_now_ns(const struct mf_plugin_host *host)
{
    const struct mf_env *env = host->impl;
    return mf_now_ns(env);
}

static const char *host_getenv(const struct mf_plugin_host *host, const char *name)
{
    (void)host;
    return getenv(name);
}

void mf_plugin_host_init(struct mf_plugin_host *host, const struct mf_env *env)
{
    *host = (struct mf_plugin_host){
        .abi = MF_PLUGIN_ABI,
        .size = sizeof(*host),
        .impl = env,
        .err = host_err,
        .log = host_log,
        .now_ns = host_now_ns,
        .getenv = host_getenv,
    };
}

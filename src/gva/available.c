// SPDX-License-Identifier: Apache-2.0
// How much memory may still be allocated: MemAvailable, and for each control group from ours up to
// the root of what is mounted, its limit less what it uses. Versions 1 and 2, wherever they are
// mounted.
#include "gva/available.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "gva/memory.h"

#define LINE_MAX_BYTES 4096

/* The least of what was found so far, and where. */
struct least {
    const char *root;
    uint64_t bytes;
    char *why;
    size_t why_len;
};

/* The file names of one version of control groups. */
struct version {
    const char *fs_type;    /* in mountinfo */
    const char *controller; /* in its super options; NULL: every mount of the type */
    const char *limit, *usage;
    const char *cache; /* line of memory.stat: page cache that goes when memory is needed */
};

static const struct version versions[] = {
    {"cgroup2", NULL, "memory.max", "memory.current", "inactive_file"},
    {"cgroup", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
};

static FILE *open_in(const char *root, const char *path)
{
    char full[PATH_MAX];
    int n = snprintf(full, sizeof(full), "%s%s", root, path);
    return n > 0 && n < (int)sizeof(full) ? fopen(full, "re") : NULL;
}

static FILE *open_member(const struct least *least, const char *dir, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    return n > 0 && n < (int)sizeof(path) ? open_in(least->root, path) : NULL;
}

/* The number in a file of one number; "max" is none. */
static bool read_number(const struct least *least, const char *dir, const char *name, uint64_t *out)
{
    FILE *file = open_member(least, dir, name);
    if (!file) {
        return false;
    }
    bool ok = fscanf(file, "%" SCNu64, out) == 1;
    fclose(file);
    return ok;
}

/* The number behind `key` in a file of lines "key number". */
static bool find_number(FILE *file, const char *key, uint64_t *out)
{
    char line[256];
    size_t len = strlen(key);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, len) == 0 && (line[len] == ' ' || line[len] == ':')) {
            return sscanf(line + len + 1, "%" SCNu64, out) == 1;
        }
    }
    return false;
}

static uint64_t read_stat(const struct least *least, const char *dir, const char *key)
{
    FILE *file = open_member(least, dir, "memory.stat");
    uint64_t value;
    if (!file) {
        return 0;
    }
    if (!find_number(file, key, &value)) {
        value = 0;
    }
    fclose(file);
    return value;
}

static void look_at_group(struct least *least, const struct version *version, const char *dir)
{
    uint64_t limit;
    uint64_t usage;
    if (!read_number(least, dir, version->limit, &limit) ||
        !read_number(least, dir, version->usage, &usage)) {
        return;
    }
    uint64_t cache = read_stat(least, dir, version->cache);
    usage -= cache < usage ? cache : usage;
    uint64_t left = limit > usage ? limit - usage : 0;
    if (left < least->bytes) {
        least->bytes = left;
        snprintf(least->why, least->why_len, "%s/%s (%" PRIu64 " bytes, %" PRIu64 " in use)", dir,
                 version->limit, limit, usage);
    }
}

/* The group and all above it, up to the mount point. */
static void look_up_the_tree(struct least *least, const struct version *version, const char *mount,
                             const char *group)
{
    char dir[PATH_MAX];
    size_t mount_len = strlen(mount);
    int n = snprintf(dir, sizeof(dir), "%s%s", mount, strcmp(group, "/") == 0 ? "" : group);
    if (n < 0 || n >= (int)sizeof(dir)) {
        return;
    }
    for (;;) {
        look_at_group(least, version, dir);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < mount_len) {
            return;
        }
        *slash = '\0';
    }
}

/* The name of our group in the hierarchy of this version, from a line "number:controllers:/name".
 */
static bool own_group(const struct least *least, const struct version *version, char *group,
                      size_t len)
{
    FILE *file = open_in(least->root, "/proc/self/cgroup");
    char line[LINE_MAX_BYTES];
    bool found = false;
    if (!file) {
        return false;
    }
    while (!found && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *name = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!name) {
            continue;
        }
        *name++ = '\0';
        char padded[256];
        snprintf(padded, sizeof(padded), ",%s,", controllers + 1);
        found = version->controller ? strstr(padded, ",memory,") != NULL : padded[1] == ',';
        snprintf(group, len, "%s", name);
    }
    fclose(file);
    return found;
}

/* One line of mountinfo: id parent major:minor root mountpoint options ... - type source
 * superoptions. */
static void look_at_mount(struct least *least, const char *line)
{
    char root[PATH_MAX];
    char mount[PATH_MAX];
    char type[64];
    char options[256];
    char group[PATH_MAX];
    const char *tail = strstr(line, " - ");
    if (!tail || sscanf(line, "%*s %*s %*s %4095s %4095s", root, mount) != 2 ||
        sscanf(tail, " - %63s %*s %255s", type, options) != 2) {
        return;
    }
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        const struct version *version = &versions[i];
        if (strcmp(type, version->fs_type) != 0 ||
            (version->controller && !strstr(options, version->controller)) ||
            !own_group(least, version, group, sizeof(group))) {
            continue;
        }
        /* In a container the mount may show a subtree; our group's name begins with that subtree's.
         */
        size_t shown = strcmp(root, "/") == 0 ? 0 : strlen(root);
        bool below = strncmp(group, root, shown) == 0;
        look_up_the_tree(least, version, mount, below ? group + shown : "/");
    }
}

static void look_at_control_groups(struct least *least)
{
    FILE *file = open_in(least->root, "/proc/self/mountinfo");
    char line[LINE_MAX_BYTES];
    if (!file) {
        return;
    }
    while (fgets(line, sizeof(line), file)) {
        look_at_mount(least, line);
    }
    fclose(file);
}

uint64_t mf_memory_available_in(const char *root, char *why, size_t why_len)
{
    struct least least = {.root = root, .bytes = UINT64_MAX, .why = why, .why_len = why_len};
    uint64_t kib;
    snprintf(why, why_len, "no limit is known");
    FILE *file = open_in(root, "/proc/meminfo");
    if (file) {
        if (find_number(file, "MemAvailable", &kib)) {
            least.bytes = kib * 1024;
            snprintf(why, why_len, "MemAvailable of /proc/meminfo");
        }
        fclose(file);
    }
    look_at_control_groups(&least);
    return least.bytes;
}

/* Free pages, and page cache that goes when memory is needed. */
uint64_t mf_node_available_in(const char *root, int node, char *why, size_t why_len)
{
    static const char *const parts[] = {"MemFree", "Active(file)", "Inactive(file)"};
    char path[64];
    uint64_t bytes = 0;
    snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char key[48];
        uint64_t kib;
        FILE *file = open_in(root, path);
        snprintf(key, sizeof(key), "Node %d %s", node, parts[i]);
        bool found = file && find_number(file, key, &kib);
        if (file) {
            fclose(file);
        }
        if (!found) {
            return UINT64_MAX;
        }
        bytes += kib * 1024;
    }
    snprintf(why, why_len, "%s", path);
    return bytes;
}

uint64_t mf_memory_available_on(int node, char *why, size_t why_len)
{
    char on_node[128];
    uint64_t all = mf_memory_available(why, why_len);
    uint64_t bytes =
        node < 0 ? UINT64_MAX : mf_node_available_in("", node, on_node, sizeof(on_node));
    if (bytes < all) {
        snprintf(why, why_len, "%s", on_node);
        return bytes;
    }
    return all;
}

uint64_t mf_memory_available(char *why, size_t why_len)
{
    return mf_memory_available_in("", why, why_len);
}

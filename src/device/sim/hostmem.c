// SPDX-License-Identifier: Apache-2.0
// What the host can still give: asked before memory is populated, so that too little of it is an
// error and not a visit of the kernel's out-of-memory killer. Knows both generations of control
// groups.
#include "device/sim/sim.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 1024
#define FILE_BYTES 8192

/* The beginning of a small file as text; false when it cannot be read. */
static bool read_text(const char *root, const char *path, char *buf, size_t len)
{
    char full[PATH_BYTES];
    size_t used = 0;
    int n = snprintf(full, sizeof(full), "%s%s", root, path);
    if (n < 0 || (size_t)n >= sizeof(full)) {
        return false;
    }
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got = 1;
    while (used + 1 < len && (got = read(fd, buf + used, len - 1 - used)) > 0) {
        used += (size_t)got;
    }
    close(fd);
    buf[used] = 0;
    return used > 0;
}

/* The number behind `key` at the start of a line, or at the start of the text for an empty key. */
static bool number_after(const char *text, const char *key, uint64_t *out)
{
    size_t len = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0) {
            char *end;
            *out = strtoull(line + len, &end, 10);
            return end != line + len;
        }
    }
    return false;
}

struct group_files {
    const char *mount, *limit, *usage, *cache_key;
};

static const struct group_files group_v2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                            "inactive_file "};
static const struct group_files group_v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                            "memory.usage_in_bytes", "total_inactive_file "};

/* Lower *least to what one group leaves; its page cache can be given back. */
static void look_at_group(const char *root, const struct group_files *files, const char *group,
                          uint64_t *least, char *limit, size_t limit_len)
{
    char path[PATH_BYTES];
    char text[FILE_BYTES];
    uint64_t max;
    uint64_t usage;
    uint64_t cache = 0;
    snprintf(path, sizeof(path), "%s%s/%s", files->mount, group, files->limit);
    if (!read_text(root, path, text, sizeof(text)) || !number_after(text, "", &max)) {
        return; /* no such group in this name space, or "max" */
    }
    snprintf(path, sizeof(path), "%s%s/%s", files->mount, group, files->usage);
    if (!read_text(root, path, text, sizeof(text)) || !number_after(text, "", &usage)) {
        return;
    }
    snprintf(path, sizeof(path), "%s%s/memory.stat", files->mount, group);
    if (read_text(root, path, text, sizeof(text))) {
        number_after(text, files->cache_key, &cache);
    }
    usage -= cache < usage ? cache : usage;
    uint64_t left = max > usage ? max - usage : 0;
    if (left < *least) {
        *least = left;
        snprintf(limit, limit_len, "%s of control group %s", files->limit, group[0] ? group : "/");
    }
}

/* The group and each one above it. */
static void look_at_groups(const char *root, const struct group_files *files, char *group,
                           uint64_t *least, char *limit, size_t limit_len)
{
    group[strcspn(group, "\n")] = 0;
    for (;;) {
        char *slash = strrchr(group, '/');
        if (slash && slash[1] == 0) {
            *slash = 0;
        }
        look_at_group(root, files, group, least, limit, limit_len);
        slash = strrchr(group, '/');
        if (!slash) {
            return;
        }
        *slash = 0;
    }
}

uint64_t mf_sim_host_available(const char *root, char *limit, size_t limit_len)
{
    char text[FILE_BYTES];
    uint64_t least = UINT64_MAX;
    uint64_t kib;
    snprintf(limit, limit_len, "nothing");
    if (read_text(root, "/proc/meminfo", text, sizeof(text)) &&
        number_after(text, "MemAvailable:", &kib)) {
        least = kib * 1024;
        snprintf(limit, limit_len, "MemAvailable of the machine");
    }
    if (!read_text(root, "/proc/self/cgroup", text, sizeof(text))) {
        return least;
    }
    for (char *line = text; line && *line;) {
        char *next = strchr(line, '\n');
        if (next) {
            *next++ = 0;
        }
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (group) {
            *group++ = 0;
            if (strcmp(controllers + 1, "memory") == 0) {
                look_at_groups(root, &group_v1, group, &least, limit, limit_len);
            } else if (controllers[1] == 0) {
                look_at_groups(root, &group_v2, group, &least, limit, limit_len);
            }
        }
        line = next;
    }
    return least;
}

// SPDX-License-Identifier: Apache-2.0
// The trace memory of another process, as whoever made it says. The first byte says what the
// descriptor is; the rest is written into memory that begins as good trace memory does: stretches
// of two bytes offset (in words of eight), one byte length, and as many bytes. What is read then
// holds what a reader relies on.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "fuzz_env.h"
#include "smem.h"
#include "trace/view.h"

enum {
    NOT_SEALED = 1u,
    IS_SHORT = 2u,
    IS_HEAD = 4u, /* no byte behind the head */
    IS_PIPE = 8u,
    IS_TINY = 16u,
};

/* Good memory with a rank, two blocks and two points. */
static void good_head(struct mf_trace_head *head)
{
    memset(head, 0, sizeof(*head));
    atomic_store(&head->magic, MF_TRACE_MAGIC);
    head->format = MF_TRACE_FORMAT;
    head->head_bytes = sizeof(struct mf_trace_head);
    head->block_bytes = sizeof(struct mf_trace_block);
    head->blocks = MF_TRACE_BLOCKS;
    head->points = 2;
    head->buckets = MF_TRACE_BUCKETS;
    head->pid = 4711;
    atomic_store(&head->blocks_used, 2);
    head->point[0] = (struct mf_trace_point_name){.id = 1, .counts_bytes = 1, .name = "copy put"};
    head->point[1] = (struct mf_trace_point_name){.id = 2, .name = "join"};
}

static off_t size_of(uint8_t how)
{
    if (how & IS_TINY) {
        return 100;
    }
    if (how & IS_HEAD) {
        return sizeof(struct mf_trace_head);
    }
    return (off_t)sizeof(struct mf_trace_memory) - (how & IS_SHORT ? 4096 : 0);
}

static int make_memory(uint8_t how, const uint8_t *data, size_t len)
{
    static struct mf_trace_head head;
    int ends[2];
    if (how & IS_PIPE) {
        FUZZ_CHECK(pipe2(ends, O_CLOEXEC) == 0);
        close(ends[1]);
        return ends[0];
    }
    good_head(&head);
    int fd = memfd_create(MF_TRACE_FD_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    FUZZ_CHECK(fd >= 0 && pwrite(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head));
    while (len >= 3) {
        off_t at = ((off_t)data[0] | (off_t)data[1] << 8) * 8;
        size_t n = data[2] < len - 3 ? data[2] : len - 3;
        FUZZ_CHECK(pwrite(fd, data + 3, n, at) == (ssize_t)n);
        data += 3 + n;
        len -= 3 + n;
    }
    FUZZ_CHECK(ftruncate(fd, size_of(how)) == 0);
    if (!(how & NOT_SEALED)) {
        FUZZ_CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    }
    return fd;
}

static void check_read(const struct mf_trace_view *view)
{
    for (uint32_t p = 0; p < MF_TRACE_POINTS; p++) {
        const char *name = view->head.point[p].name;
        size_t n = strnlen(name, MF_TRACE_NAME_MAX);
        FUZZ_CHECK(n < MF_TRACE_NAME_MAX);
        for (size_t i = 0; i < n; i++) {
            FUZZ_CHECK(name[i] > ' ' && name[i] < 0x7f);
        }
    }
    FUZZ_CHECK(atomic_load(&view->head.blocks_used) <= MF_TRACE_BLOCKS);
}

void fuzz_one(const uint8_t *data, size_t len)
{
    struct fuzz_world world;
    static struct mf_trace_head head;
    struct mf_trace_view *view = NULL;
    if (len == 0) {
        return;
    }
    fuzz_world_init(&world);
    int fd = make_memory(data[0], data + 1, len - 1);
    int checked = mf_trace_check_fd(fd, &head);
    int opened = mf_trace_view_open(&world.env, getpid(), &view); /* finds it among its own */
    FUZZ_CHECK((opened == SMEM_OK) == (checked == SMEM_OK) &&
               (opened == SMEM_OK) == (view != NULL));
    if (opened == SMEM_OK) {
        for (int i = 0; i < 2; i++) {
            FUZZ_CHECK(mf_trace_view_read(view) == SMEM_OK);
            check_read(view);
        }
        FUZZ_CHECK(mf_trace_view_is_alive(view));
    }
    mf_trace_view_close(view);
    close(fd);
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    static const uint8_t hows[] = {0, NOT_SEALED, IS_SHORT, IS_HEAD, IS_PIPE, IS_TINY, 0, 0, 0};
    static const uint8_t changes[][8] = {
        {0, 0, 1, 1},               /* magic */
        {1, 0, 1, 9},               /* format */
        {3, 0, 1, 9},               /* points and buckets */
        {11, 0, 4, 'a', 1, 2, 3},   /* names */
        {0, 2, 4, 1, 1, 1, 1},      /* counts of block 0 */
        {8, 0, 4, 0xff, 0xff, 0, 0} /* words behind the head's numbers */
    };
    (void)cap;
    if (i >= 54) {
        return 0;
    }
    buf[0] = hows[i % 9];
    memcpy(buf + 1, changes[i / 9], 8);
    return i < 9 ? 1 : (size_t)(1 + 3 + changes[i / 9][2]);
}

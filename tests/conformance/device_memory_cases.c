// SPDX-License-Identifier: Apache-2.0
// Conformance of a device: what it says of itself, its memory, address windows and sharing.
#include "device_suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

void test_device__says_what_it_is(void **state)
{
    struct suite *s = *state;
    struct mf_device_info info = s->dev->info;
    assert_true(info.granularity > 0);
    assert_int_equal(info.granularity & (info.granularity - 1), 0);
    assert_true(info.memory_total > 0);
    assert_true(info.memory_free <= info.memory_total);
    assert_true(info.name[0] != 0);
    assert_true(info.plugin[0] != 0);
    assert_int_equal(info.ordinal, 0);
}

void test_device__refuses_an_ordinal_that_is_not_there(void **state)
{
    struct suite *s = *state;
    struct mf_dev *dev;
    mf_assert_rc(mf_dev_open(&s->env, &s->config, s->plugin, 60000, &dev), SMEM_INVALID_PARAM);
    assert_null(dev);
    mf_assert_err_has("60000");
}

void test_device__memory_is_zeroed(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint8_t *back = malloc(s->unit);
    place_create(s, s->unit, &place);
    memset(back, 0xee, s->unit);
    mf_assert_ok(DEV(s, copy, s->stream, num(back), place.addr, s->unit));
    mf_assert_ok(sync_stream(s));
    for (uint64_t i = 0; i < s->unit; i++) {
        assert_int_equal(back[i], 0);
    }
    place_destroy(s, &place);
    free(back);
}

void test_device__refuses_sizes_off_the_granularity(void **state)
{
    struct suite *s = *state;
    mf_dev_mem mem;
    uint64_t addr;
    mf_assert_rc(DEV(s, mem_create, 0, &mem), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, mem_create, s->unit + 1, &mem), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, window_reserve, 0, 0, &addr), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, window_reserve, 0, s->unit + 1, &addr), SMEM_INVALID_PARAM);
    assert_string_not_equal(mf_err_msg(), "");
}

void test_device__window_is_where_it_was_granted(void **state)
{
    struct suite *s = *state;
    uint64_t first;
    uint64_t second;
    mf_assert_ok(DEV(s, window_reserve, 0, 4 * s->unit, &first));
    assert_true(first != 0 && first % s->unit == 0);
    DEV(s, window_release, first, 4 * s->unit);
    /* Wanted again: the same place, or the device says where else. */
    mf_assert_ok(DEV(s, window_reserve, first, 4 * s->unit, &second));
    assert_true(second != 0 && second % s->unit == 0);
    DEV(s, window_release, second, 4 * s->unit);
}

void test_device__map_needs_a_window(void **state)
{
    struct suite *s = *state;
    mf_dev_mem mem;
    uint64_t addr;
    mf_assert_ok(DEV(s, mem_create, 2 * s->unit, &mem));
    mf_assert_ok(DEV(s, window_reserve, 0, 2 * s->unit, &addr));
    mf_assert_rc(DEV(s, map, addr + s->unit, mem, 0, 2 * s->unit), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, map, addr + 1, mem, 0, s->unit), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, map, addr, mem, 2 * s->unit, s->unit), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, map, addr, mem, s->unit, 2 * s->unit), SMEM_INVALID_PARAM);
    DEV(s, window_release, addr, 2 * s->unit);
    mf_assert_rc(DEV(s, map, addr, mem, 0, s->unit), SMEM_INVALID_PARAM);
    DEV(s, mem_destroy, mem);
}

void test_device__map_refuses_overlap(void **state)
{
    struct suite *s = *state;
    struct place place;
    place_create(s, 2 * s->unit, &place);
    mf_assert_rc(DEV(s, map, place.addr + s->unit, place.mem, 0, s->unit), SMEM_DUPLICATED);
    assert_string_not_equal(mf_err_msg(), "");
    place_destroy(s, &place);
}

void test_device__unmap_takes_whole_mappings(void **state)
{
    struct suite *s = *state;
    struct place place;
    place_create(s, 2 * s->unit, &place);
    mf_assert_rc(DEV(s, unmap, place.addr, s->unit), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, unmap, place.addr + s->unit, s->unit), SMEM_INVALID_PARAM);
    mf_assert_ok(DEV(s, unmap, place.addr, place.size));
    mf_assert_rc(DEV(s, unmap, place.addr, place.size), SMEM_INVALID_PARAM);
    /* The place is free again. */
    mf_assert_ok(DEV(s, map, place.addr, place.mem, 0, place.size));
    place_destroy(s, &place);
}

void test_device__query_knows_mappings_only(void **state)
{
    struct suite *s = *state;
    struct mf_device_range range;
    mf_dev_mem mem;
    uint64_t addr;
    mf_assert_ok(DEV(s, mem_create, s->unit, &mem));
    mf_assert_ok(DEV(s, window_reserve, 0, 3 * s->unit, &addr));
    mf_assert_rc(DEV(s, query, addr, &range), SMEM_NOT_EXIST);
    mf_assert_ok(DEV(s, map, addr + s->unit, mem, 0, s->unit));
    mf_assert_rc(DEV(s, query, addr + s->unit - 1, &range), SMEM_NOT_EXIST);
    mf_assert_ok(DEV(s, query, addr + s->unit, &range));
    assert_int_equal(range.base, addr + s->unit);
    assert_int_equal(range.size, s->unit);
    mf_assert_ok(DEV(s, query, addr + 2 * s->unit - 1, &range));
    mf_assert_rc(DEV(s, query, addr + 2 * s->unit, &range), SMEM_NOT_EXIST);
    mf_assert_rc(DEV(s, query, num(&range), &range), SMEM_NOT_EXIST);
    assert_true(mf_dev_owns(s->dev, addr + s->unit, s->unit));
    assert_false(mf_dev_owns(s->dev, addr + s->unit, s->unit + 1));
    assert_false(mf_dev_owns(s->dev, UINT64_MAX, 2));
    mf_assert_ok(DEV(s, unmap, addr + s->unit, s->unit));
    mf_assert_rc(DEV(s, query, addr + s->unit, &range), SMEM_NOT_EXIST);
    DEV(s, window_release, addr, 3 * s->unit);
    DEV(s, mem_destroy, mem);
}

void test_device__memory_outlives_its_handle_while_mapped(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint64_t word = 0x1122334455667788;
    uint64_t back = 0;
    place_create(s, s->unit, &place);
    DEV(s, mem_destroy, place.mem);
    mf_assert_ok(DEV(s, copy, s->stream, place.addr, num(&word), sizeof(word)));
    mf_assert_ok(DEV(s, copy, s->stream, num(&back), place.addr, sizeof(back)));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(back, word);
    mf_assert_ok(DEV(s, unmap, place.addr, place.size));
    DEV(s, window_release, place.addr, place.size);
}

void test_device__part_of_memory_maps_at_an_offset(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint64_t part;
    uint64_t word = 0xfeedface;
    uint64_t back = 0;
    place_create(s, 2 * s->unit, &place);
    mf_assert_ok(DEV(s, window_reserve, 0, s->unit, &part));
    mf_assert_ok(DEV(s, map, part, place.mem, s->unit, s->unit));
    mf_assert_ok(DEV(s, copy, s->stream, place.addr + s->unit + 8, num(&word), sizeof(word)));
    mf_assert_ok(DEV(s, copy, s->stream, num(&back), part + 8, sizeof(back)));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(back, word);
    mf_assert_ok(DEV(s, unmap, part, s->unit));
    DEV(s, window_release, part, s->unit);
    place_destroy(s, &place);
}

void test_device__punched_memory_reads_zero(void **state)
{
    struct suite *s = *state;
    struct place place;
    uint64_t back = 1;
    place_create(s, s->unit, &place);
    mf_assert_ok(DEV(s, fill, s->stream, place.addr, 0xab, s->unit));
    mf_assert_ok(sync_stream(s));
    int rc = DEV(s, mem_punch, place.mem);
    skip_without(rc, "mem_punch");
    mf_assert_ok(rc);
    mf_assert_ok(DEV(s, copy, s->stream, num(&back), place.addr + s->unit - 8, sizeof(back)));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(back, 0);
    place_destroy(s, &place);
}

static int send_fd(int sock, int fd)
{
    char byte = 'f';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static int receive_fd(int sock)
{
    char byte;
    int fd = -1;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    if (recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg)) {
        return -1;
    }
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
    return fd;
}

/* The importer's process: reads the first word, and writes it plus one behind it. */
static int import_and_answer(struct suite *s, int sock)
{
    struct suite own = {.env = s->env, .config = s->config};
    mf_dev_mem mem;
    uint64_t addr;
    uint64_t word = 0;
    int fd = receive_fd(sock);
    if (fd < 0) {
        return 1; /* the exporter says why */
    }
    int rc = mf_dev_open(&s->env, &s->config, s->plugin, 0, &own.dev);
    rc = rc ? rc : DEV(&own, stream_create, &own.stream);
    rc = rc ? rc : DEV(&own, mem_import, fd, s->unit, &mem);
    rc = rc ? rc : DEV(&own, window_reserve, 0, s->unit, &addr);
    rc = rc ? rc : DEV(&own, map, addr, mem, 0, s->unit);
    rc = rc ? rc : DEV(&own, copy, own.stream, num(&word), addr, sizeof(word));
    rc = rc ? rc : DEV(&own, stream_sync, own.stream, soon(s));
    word++;
    rc = rc ? rc : DEV(&own, copy, own.stream, addr + 8, num(&word), sizeof(word));
    rc = rc ? rc : DEV(&own, stream_sync, own.stream, soon(s));
    if (rc) {
        fprintf(stderr, "importer: %d: %s\n", rc, mf_err_msg());
    }
    mf_dev_close(own.dev);
    return rc ? 1 : 0;
}

void test_device__import_sees_the_exporters_bytes(void **state)
{
    struct suite *s = *state;
    struct place place;
    int socks[2];
    int fd;
    int status;
    uint64_t words[2] = {41, 0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
    /* Before the first operation starts a thread that a child would not have. */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(socks[0]);
        _exit(import_and_answer(s, socks[1]));
    }
    close(socks[1]);
    place_create(s, s->unit, &place);
    int rc = DEV(s, mem_export, place.mem, &fd);
    if (rc) {
        close(socks[0]);
        waitpid(child, &status, 0);
        skip_without(rc, "mem_export");
        mf_assert_ok(rc);
    }
    mf_assert_ok(DEV(s, copy, s->stream, place.addr, num(words), 8));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(send_fd(socks[0], fd), 0);
    close(fd);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    mf_assert_ok(DEV(s, copy, s->stream, num(words), place.addr, sizeof(words)));
    mf_assert_ok(sync_stream(s));
    assert_int_equal(words[0], 41);
    assert_int_equal(words[1], 42);
    close(socks[0]);
    place_destroy(s, &place);
}

void test_device__import_refuses_a_stranger(void **state)
{
    struct suite *s = *state;
    mf_dev_mem mem;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int rc = DEV(s, mem_import, ends[0], s->unit, &mem);
    skip_without(rc, "mem_import");
    mf_assert_rc(rc, SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, mem_import, -1, s->unit, &mem), SMEM_INVALID_PARAM);
    /* It took nothing: both ends are still ours. */
    assert_int_equal(write(ends[1], "x", 1), 1);
    close(ends[0]);
    close(ends[1]);
}

void test_device__two_instances_share_nothing(void **state)
{
    struct suite *s = *state;
    struct suite other = *s;
    struct place place;
    struct mf_device_range range;
    mf_assert_ok(mf_dev_open(&s->env, &s->config, s->plugin, 0, &other.dev));
    place_create(&other, s->unit, &place);
    mf_assert_rc(DEV(s, query, place.addr, &range), SMEM_NOT_EXIST);
    mf_dev_close(other.dev);
    /* The first one goes on. */
    place_create(s, s->unit, &place);
    place_destroy(s, &place);
}

void test_device__close_frees_what_is_left(void **state)
{
    struct suite *s = *state;
    struct suite other = *s;
    struct place place;
    void *stream;
    void *event;
    uint64_t before = s->dev->info.memory_free;
    mf_assert_ok(mf_dev_open(&s->env, &s->config, s->plugin, 0, &other.dev));
    place_create(&other, s->unit, &place);
    mf_assert_ok(DEV(&other, stream_create, &stream));
    mf_assert_ok(DEV(&other, event_create, &event));
    mf_assert_ok(DEV(&other, fill, stream, place.addr, 1, s->unit));
    mf_assert_ok(DEV(&other, event_record, event, stream));
    mf_dev_close(other.dev);
    mf_assert_ok(DEV(s, info, &s->dev->info));
    assert_int_equal(s->dev->info.memory_free, before);
    /* Nothing is mapped there any more: the place can be had. */
    void *at = mmap((void *)(uintptr_t)place.addr, s->unit, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_equal(at, (void *)(uintptr_t)place.addr);
    munmap(at, s->unit);
}

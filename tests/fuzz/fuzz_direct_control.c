// SPDX-License-Identifier: Apache-2.0
// A descriptor that a peer hands over as its control page, and the name that a process may give
// itself before its start time is looked up. The first byte says what the descriptor is, 16 bytes
// are the name, then comes the head of the page.
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "fuzz.h"
#include "smem.h"
#include "transport/direct/control.h"

#define NAME_LEN 16u

enum {
    IS_SEALED = 1u,
    CAN_SHRINK = 2u, /* only against growing */
    IS_SHORT = 4u,
    IS_LONG = 8u,
    IS_PIPE = 16u,
};

static int make_page(uint8_t how, const uint8_t *head, size_t len)
{
    int ends[2];
    off_t size = (off_t)sizeof(struct mf_fence_page);
    if (how & IS_PIPE) {
        FUZZ_CHECK(pipe2(ends, O_CLOEXEC) == 0);
        close(ends[1]);
        return ends[0];
    }
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size += how & IS_LONG ? 4096 : how & IS_SHORT ? -4096 : 0;
    FUZZ_CHECK(fd >= 0 && ftruncate(fd, size) == 0);
    if (len > 0) {
        FUZZ_CHECK(pwrite(fd, head, len < (size_t)size ? len : (size_t)size, 0) > 0);
    }
    if (how & IS_SEALED) {
        FUZZ_CHECK(fcntl(fd, F_ADD_SEALS,
                         how & CAN_SHRINK ? F_SEAL_GROW : F_SEAL_GROW | F_SEAL_SHRINK) == 0);
    }
    return fd;
}

void fuzz_one(const uint8_t *data, size_t len)
{
    static uint64_t start; /* of this process: whatever its name, it stays the same */
    struct mf_fence_page *page = NULL;
    char name[NAME_LEN + 1] = "fuzz";
    if (len < 1 + NAME_LEN) {
        return;
    }
    memcpy(name, data + 1, NAME_LEN);
    FUZZ_CHECK(prctl(PR_SET_NAME, name, 0, 0, 0) == 0);
    uint64_t now = mf_direct_start_time(0);
    FUZZ_CHECK(now != 0 && (start == 0 || now == start));
    FUZZ_CHECK(mf_direct_start_time(getpid()) == now && mf_direct_start_time(-1) == 0);
    start = now;

    int fd = make_page(data[0], data + 1 + NAME_LEN, len - 1 - NAME_LEN);
    int rc = mf_direct_control_map(fd, &page);
    FUZZ_CHECK((rc == SMEM_OK) == (page != NULL));
    if (rc == SMEM_OK) {
        FUZZ_CHECK((data[0] & (IS_SEALED | CAN_SHRINK | IS_SHORT | IS_LONG | IS_PIPE)) ==
                   IS_SEALED);
        FUZZ_CHECK(page->rank < MF_WORLD_MAX && page->magic == MF_FENCE_MAGIC);
        FUZZ_CHECK(atomic_load(&page->lines[MF_THREADS_MAX - 1].hazard[0]) == 0);
    }
    mf_direct_control_unmap(page);
    close(fd);
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    static const uint8_t hows[] = {
        IS_SEALED, 0, IS_SEALED | CAN_SHRINK, IS_SEALED | IS_SHORT, IS_SEALED | IS_LONG, IS_PIPE};
    static const char names[][NAME_LEN + 1] = {"mfcli", "a) R 1 2 (b", ") ) )", "((((",
                                               "\n\t 1 2 3"};
    struct mf_fence_identity who = {
        .rank = i % 3 ? i : MF_WORLD_MAX, .incarnation = 4, .world_id = 5, .pid = 6};
    static struct mf_fence_page page;
    size_t head = offsetof(struct mf_fence_page, admitted);
    if (i >= 12 || 1 + NAME_LEN + head > cap) {
        return 0;
    }
    memset(&page, 0, sizeof(page));
    who.rank = i % 3 == 2 ? MF_WORLD_MAX : i;
    page.magic = MF_FENCE_MAGIC;
    page.version = MF_FENCE_VERSION;
    page.rank = who.rank;
    page.incarnation = who.incarnation;
    page.world_id = who.world_id;
    page.pid = who.pid;
    buf[0] = hows[i / 2 % sizeof(hows)];
    memcpy(buf + 1, names[i % 5], NAME_LEN);
    memcpy(buf + 1 + NAME_LEN, &page, 64);
    return 1 + NAME_LEN + 64;
}

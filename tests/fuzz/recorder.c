// SPDX-License-Identifier: Apache-2.0
// Records what the decoders are given that take one message, record, text or descriptor at a time.
#include "recorder.h"

#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "core/pool_tags.h"
#include "store/client_sm.h"
#include "store/store.h"
#include "text_kinds.h"
#include "trace/view.h"
#include "transport/direct/control.h"
#include "transport/direct/msg.h"
#include "transport/direct/vm_msg.h"
#include "wire/record.h"
#include "wire/store_msg.h"

/* A decoder of bytes alone: `head` is what tells the target which one it is. */
#define RECORD_BYTES(name, out_type, target, head)                     \
    int __real_##name(const uint8_t *data, size_t len, out_type *out); \
    int __wrap_##name(const uint8_t *data, size_t len, out_type *out); \
    int __wrap_##name(const uint8_t *data, size_t len, out_type *out)  \
    {                                                                  \
        static const uint8_t first[] = {head};                         \
        record(target, first, 1, data, len);                           \
        return __real_##name(data, len, out);                          \
    }

RECORD_BYTES(mf_smsg_get_hello, struct mf_smsg_hello, "store_msg", MF_SMSG_HELLO)
RECORD_BYTES(mf_smsg_get_welcome, struct mf_smsg_welcome, "store_msg", MF_SMSG_WELCOME)
RECORD_BYTES(mf_smsg_get_request, struct mf_smsg_request, "store_msg", MF_SMSG_REQUEST)
RECORD_BYTES(mf_smsg_get_watch, struct mf_smsg_watch, "store_msg", MF_SMSG_WATCH)
RECORD_BYTES(mf_smsg_get_reply, struct mf_smsg_reply, "store_msg", MF_SMSG_REPLY)
RECORD_BYTES(mf_smsg_get_id, uint32_t, "store_msg", MF_SMSG_CANCEL)
RECORD_BYTES(mf_direct_pull_decode, struct mf_direct_pull, "direct_pull", 0)
RECORD_BYTES(mf_direct_done_decode, struct mf_direct_done, "direct_pull", 1)

/* Numbers of fuzz_record.c. */
#define RECORD_RECORD(name, out_type, number)                       \
    int __real_##name(const void *data, size_t len, out_type *out); \
    int __wrap_##name(const void *data, size_t len, out_type *out); \
    int __wrap_##name(const void *data, size_t len, out_type *out)  \
    {                                                               \
        static const uint8_t first[] = {number};                    \
        record("record", first, 1, data, len);                      \
        return __real_##name(data, len, out);                       \
    }

RECORD_RECORD(mf_rec_get_identity, struct mf_rec_identity, 0)
RECORD_RECORD(mf_rec_get_world, struct mf_rec_world, 1)
RECORD_RECORD(mf_rec_get_map, struct mf_rec_map, 2)
RECORD_RECORD(mf_rec_get_member, struct mf_rec_member, 3)

int __real_mf_smsg_get_goodbye(const uint8_t *body, size_t len, struct mf_smsg_goodbye *out,
                               char text[MF_SMSG_TEXT_MAX]);
int __wrap_mf_smsg_get_goodbye(const uint8_t *body, size_t len, struct mf_smsg_goodbye *out,
                               char text[MF_SMSG_TEXT_MAX]);
int __real_mf_smsg_check_items(struct mf_rd rd, size_t *count);
int __wrap_mf_smsg_check_items(struct mf_rd rd, size_t *count);
void __real_mf_cl_watch_events(struct mf_client_sm *sm, const uint8_t *body, size_t len);
void __wrap_mf_cl_watch_events(struct mf_client_sm *sm, const uint8_t *body, size_t len);
void __real_mf_cl_watch_sync(struct mf_client_sm *sm, const uint8_t *body, size_t len);
void __wrap_mf_cl_watch_sync(struct mf_client_sm *sm, const uint8_t *body, size_t len);
int __real_mf_direct_msg_decode(const uint8_t *buf, size_t len, struct mf_direct_msg *msg);
int __wrap_mf_direct_msg_decode(const uint8_t *buf, size_t len, struct mf_direct_msg *msg);
int __real_mf_direct_control_map(int fd, struct mf_fence_page **out);
int __wrap_mf_direct_control_map(int fd, struct mf_fence_page **out);
int __real_mf_trace_check_fd(int fd, struct mf_trace_head *head);
int __wrap_mf_trace_check_fd(int fd, struct mf_trace_head *head);
int __real_mf_store_url_parse(const char *url, struct mf_store_url *out);
int __wrap_mf_store_url_parse(const char *url, struct mf_store_url *out);
int __real_mf_config_set(struct mf_config *config, enum mf_opt id, const char *text);
int __wrap_mf_config_set(struct mf_config *config, enum mf_opt id, const char *text);
int __real_mf_config_load(struct mf_config *config, char *const *variables, struct mf_log *log);
int __wrap_mf_config_load(struct mf_config *config, char *const *variables, struct mf_log *log);
int __real_mf_tags_parse(const char *tag, size_t tag_bytes, const char *info, size_t info_bytes,
                         uint32_t data_ops, struct mf_tags *out);
int __wrap_mf_tags_parse(const char *tag, size_t tag_bytes, const char *info, size_t info_bytes,
                         uint32_t data_ops, struct mf_tags *out);

int __wrap_mf_smsg_get_goodbye(const uint8_t *body, size_t len, struct mf_smsg_goodbye *out,
                               char text[MF_SMSG_TEXT_MAX])
{
    record("store_msg", &(uint8_t){MF_SMSG_GOODBYE}, 1, body, len);
    return __real_mf_smsg_get_goodbye(body, len, out, text);
}

int __wrap_mf_smsg_check_items(struct mf_rd rd, size_t *count)
{
    record("store_msg", &(uint8_t){MF_SMSG_PART}, 1, rd.at, mf_rd_left(&rd));
    return __real_mf_smsg_check_items(rd, count);
}

/* As if these were the first items of the connection. */
void __wrap_mf_cl_watch_events(struct mf_client_sm *sm, const uint8_t *body, size_t len)
{
    record("store_msg", &(uint8_t){MF_SMSG_EVENTS}, 1, body, len);
    __real_mf_cl_watch_events(sm, body, len);
}

void __wrap_mf_cl_watch_sync(struct mf_client_sm *sm, const uint8_t *body, size_t len)
{
    if (len > 5) { /* behind id and flags */
        record("store_msg", &(uint8_t){MF_SMSG_EVENTS}, 1, body + 5, len - 5);
    }
    __real_mf_cl_watch_sync(sm, body, len);
}

int __wrap_mf_direct_msg_decode(const uint8_t *buf, size_t len, struct mf_direct_msg *msg)
{
    record("direct_msg", "", 0, buf, len);
    return __real_mf_direct_msg_decode(buf, len, msg);
}

/* The head of the page, behind the name that the process might have. */
int __wrap_mf_direct_control_map(int fd, struct mf_fence_page **out)
{
    static const uint8_t first[17] = {1, 'm', 'f', 'c', 'l', 'i'};
    uint8_t page[64];
    if (pread(fd, page, sizeof(page), 0) == (ssize_t)sizeof(page)) {
        record("direct_control", first, sizeof(first), page, sizeof(page));
    }
    return __real_mf_direct_control_map(fd, out);
}

/* Head and counts of block 0, as stretches of 240 bytes that are not all zeros. */
int __wrap_mf_trace_check_fd(int fd, struct mf_trace_head *head)
{
    uint8_t input[RECORD_MAX] = {0};
    uint8_t piece[240];
    size_t len = 1;
    for (off_t at = 0; at < 2 * 4096 && len + 3 + sizeof(piece) <= sizeof(input);
         at += (off_t)sizeof(piece)) {
        static const uint8_t zeros[sizeof(piece)];
        if (pread(fd, piece, sizeof(piece), at) == (ssize_t)sizeof(piece) &&
            memcmp(piece, zeros, sizeof(piece)) != 0) {
            input[len] = (uint8_t)(at / 8);
            input[len + 1] = (uint8_t)(at / 8 >> 8);
            input[len + 2] = sizeof(piece);
            memcpy(input + len + 3, piece, sizeof(piece));
            len += 3 + sizeof(piece);
        }
    }
    record("trace_view", "", 0, input, len);
    return __real_mf_trace_check_fd(fd, head);
}

int __wrap_mf_store_url_parse(const char *url, struct mf_store_url *out)
{
    record("text", &(uint8_t){TEXT_URL}, 1, url, url ? strlen(url) : 0);
    return __real_mf_store_url_parse(url, out);
}

int __wrap_mf_config_set(struct mf_config *config, enum mf_opt id, const char *text)
{
    record("text", &(uint8_t[]){TEXT_OPTION, (uint8_t)id}, 2, text, strlen(text));
    return __real_mf_config_set(config, id, text);
}

/* What belongs to the project: the rest of an environment is nobody's business. */
int __wrap_mf_config_load(struct mf_config *config, char *const *variables, struct mf_log *log)
{
    char text[RECORD_MAX];
    size_t len = 0;
    for (char *const *at = variables; *at; at++) {
        size_t n = strlen(*at) + 1;
        if (strncmp(*at, "MF_", 3) == 0 && len + n <= sizeof(text)) {
            memcpy(text + len, *at, n);
            len += n;
        }
    }
    if (len > 0) {
        record("text", &(uint8_t){TEXT_ENVIRONMENT}, 1, text, len - 1);
    }
    return __real_mf_config_load(config, variables, log);
}

int __wrap_mf_tags_parse(const char *tag, size_t tag_bytes, const char *info, size_t info_bytes,
                         uint32_t data_ops, struct mf_tags *out)
{
    uint8_t first[2 + MF_TAG_MAX + 1] = {TEXT_TAGS};
    size_t n = strnlen(tag, tag_bytes);
    if (n <= MF_TAG_MAX && strnlen(info, info_bytes) < info_bytes) {
        memcpy(first + 1, tag, n);
        record("text", first, 2 + n, info, strnlen(info, info_bytes) + 1);
    }
    return __real_mf_tags_parse(tag, tag_bytes, info, info_bytes, data_ops, out);
}

// SPDX-License-Identifier: Apache-2.0
// The items of SYNC and EVENTS: each is written as what differs from the items before it on the
// same connection, since neighbours among a watch's keys and values have most bytes in common. Both
// ends keep what the last items were; a connection begins with nothing.
#ifndef MF_WIRE_STORE_ITEM_H
#define MF_WIRE_STORE_ITEM_H

#include "wire/store_msg.h"

/** Longer values are always sent whole. */
#define MF_ITEM_VALUE_MAX 1024u

/** The key of the last item of a connection, and the value of its last PUT that was not longer than
 * MF_ITEM_VALUE_MAX. All zero: nothing was there yet. */
struct mf_item_prev {
    size_t key_len, value_len;
    char key[MF_KEY_MAX + 1];
    uint8_t value[MF_ITEM_VALUE_MAX];
};

void mf_item_prev_reset(struct mf_item_prev *prev);
/** Append one item and remember it. When wr->rc is bad afterwards, so is the connection. */
void mf_item_put(struct mf_wr *wr, struct mf_item_prev *prev, const struct mf_smsg_item *item);
/** The next item; key and value are borrowed until the next call. False: no more, or (rd->bad)
 * malformed. */
bool mf_item_get(struct mf_rd *rd, struct mf_item_prev *prev, struct mf_smsg_item *out);

#endif

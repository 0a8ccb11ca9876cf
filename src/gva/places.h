// SPDX-License-Identifier: Apache-2.0
// Beginning and end of a pool's places, for the table that has them.
#ifndef MF_GVA_PLACES_H
#define MF_GVA_PLACES_H

#include "gva/gva.h"

void mf_gva_places_init(struct mf_gva_places *places);
/** No reader is left. */
void mf_gva_places_fini(struct mf_gva_places *places);

#endif

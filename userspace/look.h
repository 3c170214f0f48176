/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FTKVM_LOOK_H
#define FTKVM_LOOK_H

#include "guest.h"

/**
 * look_at_all() - ask the module how all guests are, without waiting for it
 * @fn: is told later, in the main loop, of each guest that ftd knows
 *
 * Context: the main loop. If there is no answer nothing is told.
 */
void look_at_all(void (*fn)(struct guest *g, const struct ftreplica *r));

#endif

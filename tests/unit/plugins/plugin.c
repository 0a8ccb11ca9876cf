// SPDX-License-Identifier: Apache-2.0
// The plug-ins of test_plugin: one correct one, and one for each way to be wrong. Which one this
// is, a definition of the build says.
#include "memfabric/mf_plugin.h"

/* The loader looks at the address only, so any will do. */
#define TABLE ((const struct mf_device_ops *)(const void *)&SYMBOL)

#define ABI    MF_PLUGIN_ABI
#define SIZE   sizeof(struct mf_plugin)
#define NAME   "good_1"
#define DEVICE TABLE
#define SYMBOL MF_PLUGIN_SYMBOL

#if defined(PLUGIN_WRONG_ABI)
#undef ABI
#undef SYMBOL
#define ABI    7
#define SYMBOL mf_plugin_v7
#elif defined(PLUGIN_LYING_ABI)
#undef ABI
#define ABI 2
#elif defined(PLUGIN_SMALL_SIZE)
#undef SIZE
#define SIZE (sizeof(struct mf_plugin) - 1)
#elif defined(PLUGIN_NO_SYMBOL)
#undef SYMBOL
#define SYMBOL something_else
#elif defined(PLUGIN_BAD_NAME)
#undef NAME
#define NAME "Bad-Name"
#elif defined(PLUGIN_LONG_NAME)
#undef NAME
#define NAME "a234567890123456"
#elif defined(PLUGIN_NO_NAME)
#undef NAME
#define NAME NULL
#elif defined(PLUGIN_EMPTY)
#undef DEVICE
#define DEVICE NULL
#elif defined(PLUGIN_UNRESOLVED)
int function_that_nobody_has(void);
MF_PLUGIN_EXPORT int use_of_it(void);
MF_PLUGIN_EXPORT int use_of_it(void)
{
    return function_that_nobody_has();
}
#elif !defined(PLUGIN_GOOD)
#error "say which plug-in this is"
#endif

extern const struct mf_plugin SYMBOL;
MF_PLUGIN_EXPORT const struct mf_plugin SYMBOL = {
    .abi = ABI,
    .size = SIZE,
    .name = NAME,
    .version = "1.0 of the tests",
    .device = DEVICE,
};

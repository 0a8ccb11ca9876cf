// SPDX-License-Identifier: Apache-2.0
// mfcli version: the version of the library that the tool runs with.
#include <stdbool.h>
#include <stdio.h>

#include "args.h"
#include "commands.h"
#include "memfabric/mf_info.h"
#include "out.h"
#include "smem.h"

int cmd_version(int argc, char **argv)
{
    bool json = false;
    const struct arg_option options[] = {
        arg_flag("json", &json, "print a JSON object"),
    };
    const struct arg_spec spec = {.command = "mfcli version",
                                  .about = "Prints the version of the library.",
                                  .options = options,
                                  .count = sizeof(options) / sizeof(options[0])};
    int result = args_parse(&spec, argc, argv, NULL);
    uint32_t abi = 0;

    if (result != ARGS_GO) {
        return result;
    }
    abi = smem_get_abi_version();
    if (json) {
        struct out_json object;
        char text[16];

        snprintf(text, sizeof(text), "%u.%u", abi >> 16, abi & 0xffff);
        out_json_open(&object, stdout);
        out_json_text(&object, "version", mf_version());
        out_json_text(&object, "abi", text);
        out_json_close(&object);
    } else {
        printf("memfabric %s, binary interface %u.%u\n", mf_version(), abi >> 16, abi & 0xffff);
    }
    return CLI_OK;
}

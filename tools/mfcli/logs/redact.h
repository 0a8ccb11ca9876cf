// SPDX-License-Identifier: Apache-2.0
// What looks like a secret, and must not go into a report.
#ifndef MFCLI_LOGS_REDACT_H
#define MFCLI_LOGS_REDACT_H

#include <stdbool.h>

#define REDACTED "<redacted>"

/** Whether a variable or option of this name, or with this value, may hold a secret or lead to one.
 */
bool redact_wanted(const char *name, const char *value);
/** Whether a file of this name may be a key. */
bool redact_file(const char *name);

#endif

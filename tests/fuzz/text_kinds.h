// SPDX-License-Identifier: Apache-2.0
// What the first byte of an input of fuzz_text says; the recorder writes the same.
#ifndef MF_TESTS_FUZZ_TEXT_KINDS_H
#define MF_TESTS_FUZZ_TEXT_KINDS_H

enum text_kind { TEXT_URL, TEXT_OPTION, TEXT_ENVIRONMENT, TEXT_TAGS, TEXT_KINDS };

#endif

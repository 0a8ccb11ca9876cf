/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file smem_tls_options.h
 * Certificates and keys for TLS on connections to the config store, as smem_config_store_set_tls()
 * takes them.
 */
#ifndef MEMFABRIC_SMEM_TLS_OPTIONS_H
#define MEMFABRIC_SMEM_TLS_OPTIONS_H

#include "smem_def.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * All strings are NUL-terminated paths or lists of file names, borrowed during the call that takes
 * the struct; NULL and "" mean "not given". Zero the struct before filling it.
 */
typedef struct smem_tls_options {
    uint8_t enable_tls;          /**< 0: connections in clear text; else: TLS */
    const char *tls_top_path;    /**< directory that the other paths start from */
    const char *tls_cert;        /**< this process's certificate */
    const char *tls_crl_path;    /**< directory of the revocation lists */
    const char *tls_ca_path;     /**< directory of the authorities */
    const char *tls_ca_file;     /**< names of files in tls_ca_path, separated by commas */
    const char *tls_crl_file;    /**< names of files in tls_crl_path, separated by commas */
    const char *tls_private_key; /**< this process's private key */
    const char *tls_private_key_password; /**< file with the key's password, perhaps encrypted */
} smem_tls_options_t;

MF_ASSERT_SIZE(smem_tls_options_t, 72);
MF_ASSERT_OFFSET(smem_tls_options_t, enable_tls, 0);
MF_ASSERT_OFFSET(smem_tls_options_t, tls_top_path, 8);
MF_ASSERT_OFFSET(smem_tls_options_t, tls_cert, 16);
MF_ASSERT_OFFSET(smem_tls_options_t, tls_crl_path, 24);
MF_ASSERT_OFFSET(smem_tls_options_t, tls_ca_path, 32);
MF_ASSERT_OFFSET(smem_tls_options_t, tls_ca_file, 40);
MF_ASSERT_OFFSET(smem_tls_options_t, tls_crl_file, 48);
MF_ASSERT_OFFSET(smem_tls_options_t, tls_private_key, 56);
MF_ASSERT_OFFSET(smem_tls_options_t, tls_private_key_password, 64);

#ifdef __cplusplus
}
#endif
#endif

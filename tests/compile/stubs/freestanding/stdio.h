/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
#ifndef STDIO_H
#define STDIO_H

__attribute__((format(printf, 1, 2))) int printf(const char *format, ...);

#endif

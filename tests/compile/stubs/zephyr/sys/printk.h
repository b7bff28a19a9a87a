/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
#ifndef ZEPHYR_PRINTK_H
#define ZEPHYR_PRINTK_H

#ifdef STUB_HOSTED
#include <stdio.h>
#define printk printf
#else
__attribute__((format(printf, 1, 2))) void printk(const char *format, ...);
#endif

#endif

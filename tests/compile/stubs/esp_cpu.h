/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
#ifndef ESP_CPU_H
#define ESP_CPU_H

#include <stdint.h>

typedef uint32_t esp_cpu_cycle_count_t;

static inline esp_cpu_cycle_count_t esp_cpu_get_cycle_count(void)
{
    static esp_cpu_cycle_count_t now;
    return now += 7u;
}

#endif

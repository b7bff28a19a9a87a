/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * @TITLE@.
 *
 * Runs the network once on the golden input and prints one line, which `microlith verify --board-log` takes in.
 */
#include <Arduino.h>

#include <@NAME@.h>

#include "golden.h"

@ONCE@
void setup()
{
    Serial.begin(115200);
    while (!Serial && millis() < 5000u) { /* boards whose port is their own USB */
    }
    int32_t failed = @NAME@_init(&net, arena, sizeof arena@STATE_ARGUMENT@);
    uint32_t mismatches = 0u;
    uint32_t elapsed_us = 0u;
    if (failed == 0) {
        fill_inputs();
        elapsed_us = micros();
        failed = @NAME@_run(&net);
        elapsed_us = micros() - elapsed_us;
        mismatches = count_mismatches();
    }
    Serial.print("one inference took ");
    Serial.print(elapsed_us);
    Serial.println(" us");
    Serial.print("microlith-selftest name=@NAME@ hash=@HASH@ vectors=1 mismatches=");
    Serial.print(mismatches);
    Serial.println(failed == 0 ? " cycles=0" : " cycles=0 error=1");
}

void loop()
{
}

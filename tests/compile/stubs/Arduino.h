/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* As much of an Arduino core as the example uses. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stdint.h>

#ifdef STUB_HOSTED
#include <stdio.h>
#else
extern "C" int printf(const char *format, ...);
#endif

class HardwareSerial
{
public:
    void begin(unsigned long baud) { (void)baud; }
    explicit operator bool() const { return true; }
    void print(const char *text) { (void)printf("%s", text); }
    void print(unsigned int number) { (void)printf("%u", number); }
    void print(unsigned long number) { (void)printf("%lu", number); }
    void println(const char *text) { (void)printf("%s\r\n", text); }
};

static HardwareSerial Serial;

static inline unsigned long millis(void) { return 0; }
static inline unsigned long micros(void) { return 0; }

void setup();
void loop();

#ifdef STUB_HOSTED
int main()
{
    setup();
    loop();
    return 0;
}
#endif

#endif

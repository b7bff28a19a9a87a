/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* An application that does nothing: what the minimal application's size is compared with. */
int main(void)
{
    return 0;
}

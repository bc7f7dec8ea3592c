/* Time: how late it is, and letting some of it pass. */
#include <time.h>

#include "state.h"

double seconds_of(int clock)
{
    struct timespec now;
    clock_gettime((clockid_t)clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void sleep_ms(double milliseconds)
{
    long long nanoseconds = (long long)(milliseconds * 1e6);
    struct timespec pause = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    if (nanoseconds > 0)
        nanosleep(&pause, NULL);
}

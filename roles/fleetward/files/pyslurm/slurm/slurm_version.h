/* Lets pyslurm 25.11 build against Slurm 26.05.
 *
 * Its setup.py reads the version from the first line below and accepts only 25.11; the compiler skips that line and
 * goes on to the header that Slurm installed, whose SLURM_BACKWARD_COMPAT wrappers carry the older names.
 */
#if 0
#define SLURM_VERSION_NUMBER 0x190b00 
#endif
#include_next <slurm/slurm_version.h>

#!/bin/sh
# Starts a slurmctld in this container with $1 cloud nodes of 8 GPUs and $2 jobs, all held. No slurmd stands behind the
# nodes: powering one up is a command that does nothing.
set -eu
nodes=$1 jobs=$2

ip=$(hostname -i | cut -d' ' -f1)
head=$(hostname -s)
install -d /etc/slurm
install -d -m 755 -o munge -g munge /run/munge /var/log/munge /var/lib/munge
head -c 128 /dev/urandom > /etc/munge/munge.key
chown munge:munge /etc/munge/munge.key
chmod 400 /etc/munge/munge.key
runuser -u munge -- /usr/sbin/munged
install -d -o slurm -g slurm /var/spool/slurmctld /run/slurmctld /var/log/slurm
: > /etc/slurm/plugstack.conf
metrics=
if [ -e /usr/lib/x86_64-linux-gnu/slurm-wlm/metrics_openmetrics.so ]; then metrics=MetricsType=metrics/openmetrics; fi
cat > /etc/slurm/slurm.conf <<END
$metrics
ClusterName=big
SlurmctldHost=$head($ip)
SlurmUser=slurm
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmctldPidFile=/run/slurmctld/slurmctld.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
SlurmdTimeout=0
SuspendProgram=/bin/true
ResumeProgram=/bin/true
SuspendTime=INFINITE
ResumeTimeout=65000
TreeWidth=65533
MaxJobCount=200000
MessageTimeout=60
NodeName=node[0001-$nodes] CPUs=64 RealMemory=1000000 Gres=gpu:h100:8 State=CLOUD
PartitionName=gpu Nodes=ALL Default=YES MaxTime=7-00:00:00 State=UP
PartitionName=debug Nodes=node[0001-0008] MaxTime=01:00:00 State=UP
END
echo "NodeName=node[0001-$nodes] Name=gpu Type=h100 Count=8" > /etc/slurm/gres.conf
echo CgroupPlugin=disabled > /etc/slurm/cgroup.conf
slurmctld
for _ in $(seq 100); do
  if scontrol ping 2>/dev/null | grep -q UP; then break; fi
  sleep 0.2
done

printf '#!/bin/sh\nsleep 1\n' > /tmp/job.sh
# The number decides name, size and time limit, so that no two jobs in a row are the same.
# shellcheck disable=SC2016 # n is of the shell that submits
submit='n={}; sbatch --quiet --hold --parsable --job-name="train $n" --ntasks=1 --cpus-per-task=8 --mem=1G --output=/dev/null \
  --gres=gpu:h100:$((n % 8 + 1)) --time=$((n % 48 + 1)):00:00 /tmp/job.sh > /dev/null'
seq "$jobs" | xargs -P 4 -I{} sh -c "$submit"
[ "$(squeue --noheader | wc -l)" = "$jobs" ]

#!/bin/sh
# Starts a whole Slurm in this container: MariaDB, slurmdbd, slurmctld, and two slurmd with two GPUs each. A third
# node is declared and has no slurmd. The GPUs are device nodes of the null driver.
set -eu

wait_for() {
  for _ in $(seq 120); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.25
  done
  echo "not true within 30 s: $*" >&2
  cat /var/log/slurm/*.log >&2 || true
  exit 1
}

both_idle() {
  [ "$(sinfo --noheader --Node --partition=gpu --states=idle --format=%N | wc -l)" = 2 ]
}

ip=$(hostname -i | cut -d' ' -f1)
head=$(hostname -s)
mknod -m 666 /dev/nvidia0 c 1 3
mknod -m 666 /dev/nvidia1 c 1 3
install -d /etc/slurm
install -d -m 755 -o munge -g munge /run/munge /var/log/munge /var/lib/munge
head -c 128 /dev/urandom > /etc/munge/munge.key
chown munge:munge /etc/munge/munge.key
chmod 400 /etc/munge/munge.key
runuser -u munge -- /usr/sbin/munged
install -d -o slurm -g slurm /var/spool/slurmctld /run/slurm /run/slurmctld /run/slurmdbd /var/log/slurm
install -d /var/spool/slurmd.gpu001 /var/spool/slurmd.gpu002
: > /etc/slurm/plugstack.conf
head -c 32 /dev/urandom > /var/spool/slurmctld/jwt_hs256.key
chown slurm:slurm /var/spool/slurmctld/jwt_hs256.key
chmod 600 /var/spool/slurmctld/jwt_hs256.key
cat > /etc/slurm/slurm.conf <<END
ClusterName=contract
SlurmctldHost=$head($ip)
SlurmUser=slurm
AuthType=auth/munge
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=/var/spool/slurmctld/jwt_hs256.key
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd.%n
SlurmctldPidFile=/run/slurmctld/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.%n.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=$head
AccountingStorageTRES=gres/gpu,gres/gpu:h100
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
ReturnToService=2
MailProg=/bin/true
RebootProgram=/bin/true
SlurmctldTimeout=30
SlurmdTimeout=300
MessageTimeout=5
SchedulerParameters=sched_interval=5
PreemptType=preempt/qos
PreemptMode=REQUEUE
NodeName=gpu[001-002] NodeHostname=$head NodeAddr=$ip Port=[17001-17002] CPUs=8 RealMemory=16000 Gres=gpu:h100:2
NodeName=gpu003 NodeHostname=$head NodeAddr=$ip Port=17003 CPUs=8 RealMemory=16000 Gres=gpu:h100:2
PartitionName=gpu Nodes=gpu[001-003] Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=debug Nodes=gpu001 MaxTime=01:00:00 State=UP
END
cat > /etc/slurm/gres.conf <<END
NodeName=gpu[001-003] Name=gpu Type=h100 File=/dev/nvidia[0-1]
END
echo CgroupPlugin=disabled > /etc/slurm/cgroup.conf
cat > /etc/slurm/slurmdbd.conf <<END
DbdHost=$head
SlurmUser=slurm
AuthType=auth/munge
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=/var/spool/slurmctld/jwt_hs256.key
StorageType=accounting_storage/mysql
StorageUser=slurm
StoragePass=contract
LogFile=/var/log/slurm/slurmdbd.log
PidFile=/run/slurmdbd/slurmdbd.pid
END
chown slurm:slurm /etc/slurm/slurmdbd.conf
chmod 600 /etc/slurm/slurmdbd.conf
install -d -o mysql -g mysql /run/mysqld
mariadbd-safe --loose-innodb-snapshot-isolation=OFF --innodb-lock-wait-timeout=900 >/dev/null 2>&1 &
wait_for mariadb-admin ping
mariadb -e "create database if not exists slurm_acct_db; grant all on slurm_acct_db.* to slurm@localhost identified by 'contract'"
slurmdbd
wait_for sacctmgr --immediate show cluster
sacctmgr -i add cluster contract >/dev/null
sacctmgr -i add account research Description=research >/dev/null
sacctmgr -i add user root account=research >/dev/null
sacctmgr -i add qos urgent Preempt=normal >/dev/null
sacctmgr -i modify user root set qos+=urgent >/dev/null
slurmctld
slurmd -N gpu001
slurmd -N gpu002
SLURM_JWT=daemon runuser -u nobody -- slurmrestd -a rest_auth/jwt 0.0.0.0:6820 > /var/log/slurmrestd.log 2>&1 &
wait_for both_idle

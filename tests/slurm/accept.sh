#!/bin/sh
# Starts a real accounting database and slurmctld on the rendered files in /rendered, in a container of its own, and
# leaves in /out what slurmctld says about them. $1: the controller's address, which becomes this container's too.
# $2: the QOS to declare, separated by spaces. $3: the node whose devices slurmd is to look for.
set -eu

ip address add "$1/32" dev lo
cat /rendered/hosts >>/etc/hosts

install -d /etc/slurm
cp /rendered/*.conf /etc/slurm/
install -m 755 /rendered/*.sh /etc/slurm/
: >/etc/slurm/plugstack.conf # Debian's has a pattern in it that slurmctld complains of
state=$(sed -n 's/^StateSaveLocation=//p' /etc/slurm/slurm.conf)
for folder in "$state" /var/lib/slurm /var/log/slurm /run/slurmctld /run/slurmdbd; do
    install -d -o slurm -g slurm "$folder"
done
head -c 32 /dev/urandom >/var/lib/slurm/jwt_hs256.key
chown slurm: /var/lib/slurm/jwt_hs256.key
chmod 0600 /var/lib/slurm/jwt_hs256.key

install -d -o munge -g munge /run/munge
[ -s /etc/munge/munge.key ] || install -o munge -m 0400 /var/lib/slurm/jwt_hs256.key /etc/munge/munge.key
runuser -u munge -- /usr/sbin/munged

wait_for() {
    for _ in $(seq 150); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    echo "never true within 30 s: $*" >&2
    cat /var/log/slurm/*.log /out/slurmctld.log >&2 || true
    exit 1
}

install -d -o mysql -g mysql /run/mysqld
mariadbd --user=mysql --skip-networking --loose-innodb-snapshot-isolation=OFF >/dev/null 2>&1 &
wait_for mariadb-admin ping
mariadb -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db; CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
  GRANT ALL ON slurm_acct_db.* TO slurm@localhost"

cat >/etc/slurm/slurmdbd.conf <<END
AuthType=auth/munge
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=/var/lib/slurm/jwt_hs256.key
DbdHost=localhost
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
LogFile=/var/log/slurm/slurmdbd.log
PidFile=/run/slurmdbd/slurmdbd.pid
END
chown slurm: /etc/slurm/slurmdbd.conf
chmod 0600 /etc/slurm/slurmdbd.conf
runuser -u slurm -- slurmdbd
wait_for sacctmgr -n show cluster
cluster=$(sed -n 's/^ClusterName=//p' /etc/slurm/slurm.conf)
sacctmgr -i add cluster "$cluster" >/dev/null
for qos in $2; do
    sacctmgr -i add qos "$qos" >/dev/null 2>&1 || true # `normal` is there already
done

runuser -u slurm -- slurmctld -D >/out/slurmctld.log 2>&1 &
wait_for sh -c 'scontrol ping | grep -q "is UP"'
scontrol --oneliner show nodes >/out/nodes
scontrol --oneliner show partitions >/out/partitions
scontrol --oneliner show topology >/out/topology
scontrol show config >/out/config
sacctmgr -nP show tres format=type,name >/out/tres
cat /var/log/slurm/slurmctld.log >>/out/slurmctld.log 2>/dev/null || true

# slurmd wants a cgroup2 of its own before it looks at devices; gres.conf is what is tried here.
cp -r /etc/slurm /tmp/node
sed -i '/^\(ProctrackType\|TaskPlugin\|JobAcctGatherType\|PrologFlags\)=/d' /tmp/node/slurm.conf
echo ProctrackType=proctrack/linuxproc >>/tmp/node/slurm.conf
echo CgroupPlugin=disabled >/tmp/node/cgroup.conf
for index in $(seq 0 7); do
    mknod -m 666 "/dev/nvidia$index" c 1 3
done
if ! SLURM_CONF=/tmp/node/slurm.conf slurmd -N "$3" -G >/out/gres 2>&1; then
    cat /out/gres >&2
    exit 1
fi

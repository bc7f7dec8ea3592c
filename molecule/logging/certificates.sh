#!/bin/sh
# Makes an authority and certificates of it: certificates.sh FOLDER NAME...
#
# And three that nobody is to believe: `stranger`, of the same authority and of no host's name; `forged`, of another authority and of the
# first name; `late`, of the first name and out of date.
set -eu
folder=$1
shift
mkdir -p "$folder"
cd "$folder"
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

authority() { # NAME
    # shellcheck disable=SC2086  # options
    openssl req -x509 $key -days 30 -subj "/CN=played $1" -keyout "$1.key" -out "$1.pem"
}

certificate() { # FILE NAME AUTHORITY OPTION...
    file=$1 name=$2 authority=$3
    shift 3
    # shellcheck disable=SC2086
    openssl req $key -subj "/CN=$name" -keyout "$file.key" -out "$file.csr"
    printf 'subjectAltName=DNS:%s\n' "$name" > extensions
    openssl x509 -req -in "$file.csr" -CA "$authority.pem" -CAkey "$authority.key" -extfile extensions -out "$file.pem" "$@"
}

first=$1
authority other
certificate forged "$first" other -days 30
for name in "$@" stranger; do
    [ -f ca.pem ] || authority ca
    certificate "$name" "$name" ca -days 30
done
certificate late "$first" ca -not_before 20200101000000Z -not_after 20200102000000Z

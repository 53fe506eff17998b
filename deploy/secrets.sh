#!/bin/sh
# Makes the secrets docker-compose.yml mounts, each once: what exists is kept.
# The directory is closed to other users of this machine; the files in it are readable to the users inside
# the containers that are given them.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets

random() { head -c 32 /dev/urandom | base64 | tr -d '\n=+/'; }

[ -s rabbitmq_password ] || random >rabbitmq_password
[ -s hook_registry ] || random >hook_registry
# RabbitMQ takes its first user from its configuration, so that the password stands in no environment.
[ -s rabbitmq.conf ] || printf 'default_user = longshore\ndefault_pass = %s\n' "$(cat rabbitmq_password)" >rabbitmq.conf
chmod 444 rabbitmq_password hook_registry rabbitmq.conf
echo "secrets are in $(pwd)"

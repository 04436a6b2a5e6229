#!/bin/sh
# Sends one signed signal to Gemba with openssl and curl.
#
# Usage: sh send.sh hmac              http://localhost:8080/v1/signals          SECRET_FILE ID
#        sh send.sh standard-webhooks http://localhost:8080/v1/sources/webhooks SECRET_FILE ID
#
# openssl takes the key as an argument, so other users of this machine can see it while openssl runs.
set -eu
[ $# -eq 4 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
scheme=$1 url=$2 secret=$(cat "$3") id=$4

# ID names the event: the same ID with the same body is the same signal, however often it is sent.
body='{"id":"'$id'","tenant":"acme","sku":"vm","type":"cost.usage","data":{"spend":81.25,"budget":100}}'

case $scheme in
hmac)
    # Hex HMAC-SHA256 of the exact bytes of the body. The key is the text in the secret file.
    signature=$(printf %s "$body" | openssl dgst -sha256 -hmac "$secret" -r | cut -d ' ' -f 1)
    set -- -H "x-signature: $signature"
    ;;
standard-webhooks)
    # The key is the decoded base64 after `whsec_`. The id and the time are signed, too.
    key=$(printf %s "${secret#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
    now=$(date +%s)
    signature=$(printf %s "$id.$now.$body" |
        openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
    set -- -H "webhook-id: $id" -H "webhook-timestamp: $now" -H "webhook-signature: v1,$signature"
    ;;
*)
    echo "send.sh: no such scheme: $scheme" >&2
    exit 2
    ;;
esac

# --retry waits for `Retry-After` after a 429 or 503, and sends the same bytes again. --retry-all-errors does so after a
# broken connection, too: the signal may have been accepted, and a repeat does no harm. A signed time holds for 300 s.
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
status=$(curl -sS --retry 5 --retry-all-errors --max-time 30 -o "$answer" -w '%{http_code}' \
    -H 'content-type: application/json' "$@" --data-binary "$body" "$url")
echo "$status $(cat "$answer")"
[ "$status" = 202 ]

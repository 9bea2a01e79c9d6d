#!/bin/sh
# Buys data from a program that knows nothing but HTTP: here a shell and curl, through a gateway.
#
#   autopay run --base-url MARKET=http://127.0.0.1:8403/api -- sh examples/from_any_language.sh \
#       http://127.0.0.1:8403/api/market-feed
#
# `run` sets AUTOPAY_GATEWAY and AUTOPAY_GATEWAY_TOKEN, and MARKET as told. With a gateway of your own (`autopay gateway`)
# set the first one yourself.
set -eu
url=$1
token="Autopay-Token: ${AUTOPAY_GATEWAY_TOKEN:-}"

# The data to stdout (here to nothing), the receipt in headers. Its transaction is on chain.
buy() {
    curl --silent --show-error --output /dev/null --dump-header - --header "$token" "$@" |
        tr -d '\r' | sed -n 's/^autopay-transaction: //p'
}

# 1. POST /fetch buys; the id is your idempotency key.
order="{\"url\": \"$url\", \"id\": \"curl-1\", \"max_price\": \"0.01\"}"
echo "bought $(buy "$AUTOPAY_GATEWAY/fetch" --data "$order")"

# 2. The same id never pays twice: it answers what was bought, even after a crash of caller, gateway or worker.
echo "again $(buy "$AUTOPAY_GATEWAY/fetch" --data "$order")"

# 3. The reverse door, for programs that only know a base URL. Free answers pass through; a 402 is paid.
echo "door $(buy "$MARKET/market-feed?by=door" --header 'Idempotency-Key: curl-2')"

# 4. What is not paid says by which rule.
rule=$(curl --silent --output /dev/null --dump-header - --header "$token" --header 'Autopay-Max-Price: 0.0001' \
    "$MARKET/market-feed?by=refused" | tr -d '\r' | sed -n 's/^autopay-rule: //p')
echo "refused $rule"

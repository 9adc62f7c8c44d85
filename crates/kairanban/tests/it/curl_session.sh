# An administrator's session with nothing but curl, and a stream that is open throughout.
# $SITE and $API say where the server is, $ADMIN is a token; the working folder is empty.

fail() { echo "FAILED: $*" >&2; exit 1; }
as() { local token=$1; shift; curl -sS -H "Authorization: Bearer $token" "$@"; }
# status EXPECTED COMMAND...: runs curl and holds its status; the answer goes to ./answer, its head to ./head.
status() { local expected=$1 got; shift; got=$("$@" -D head -o answer -w '%{http_code}'); [ "$got" = "$expected" ] || fail "$got for $*: $(cat answer)"; }
field() { python3 -c 'import json, sys; value = json.load(open("answer"))[sys.argv[1]]; print(value)' "$1"; }
header() { sed -n "s/^$1: //ip" head | tr -d '\r'; }
# shows TEXT: waits until the stream has shown it.
shows() { for _ in $(seq 200); do grep -qF -- "$1" stream && return; sleep 0.05; done; fail "the stream never showed $1: $(tail -c 600 stream)"; }

# A board, a token for it, a stream on it.
status 201 as "$ADMIN" --json '{"name":"lost","title":"Lost and found","read":"token"}' "$API/boards"
status 201 as "$ADMIN" --json '{"name":"lost-bot","scope":"admin","board":"lost"}' "$API/tokens"
bot=$(field token) bot_id=$(field id)
curl -sSN -H "Authorization: Bearer $bot" "$SITE/b/lost/stream?format=patch" >stream &
stream=$!
trap 'kill $stream 2>/dev/null || true' EXIT
shows 'event: snapshot'

# Post, edit, lose a race.
status 201 as "$bot" --json '{"comment":"a grey cat","author":"ann"}' "$API/boards/lost/topics"
topic=$SITE$(header location) first=$(header etag)
shows 'a grey cat'
status 200 as "$bot" -X PATCH -H "If-Match: $first" --json '{"comment":"a black cat"}' "$topic"
shows 'a black cat'
status 412 as "$bot" -X PATCH -H "If-Match: $first" --json '{"comment":"a white cat"}' "$topic"
[ "$(field code)" = changed ] || fail "412 with $(cat answer)"
status 412 as "$bot" -X DELETE -H "If-Match: $first" "$topic"

# Delete, undo.
status 204 as "$bot" -X DELETE "$topic"
shows '"op":"delete"'
status 404 as "$bot" "$topic"
before=$(grep -cF 'a black cat' stream)
status 200 as "$bot" -X POST "$topic/restore"
[ "$(field comment)" = 'a black cat' ] || fail "restored $(cat answer)"
for _ in $(seq 200); do [ "$(grep -cF 'a black cat' stream)" -gt "$before" ] && break; sleep 0.05; done
[ "$(grep -cF 'a black cat' stream)" -gt "$before" ] || fail 'the stream did not show the undo'

# 2,000 topics, posted by one curl over a few connections, and read back page by page.
seq 2000 | sed "s|.*|next\nurl = \"$API/boards/lost/topics\"\njson = \"{\\\\\"comment\\\\\":\\\\\"topic &\\\\\"}\"\nheader = \"Authorization: Bearer $bot\"\noutput = \"/dev/null\"\nwrite-out = \"%{http_code}\\n\"|" | tail -n +2 >posts
curl -sS --parallel --parallel-max 8 -K posts >statuses
[ "$(sort statuses | uniq -c | tr -s ' ')" = ' 2000 201' ] || fail "posting: $(sort statuses | uniq -c)"
shows '"topic 2000"'
page="/api/v1/boards/lost/topics?limit=300" pages=0
while [ -n "$page" ]; do
  status 200 as "$bot" "$SITE$page"
  python3 -c 'import json; [print(topic["id"]) for topic in json.load(open("answer"))["topics"]]' >>ids
  page=$(header link | sed -n 's/^<\(.*\)>; rel="next"$/\1/p')
  pages=$((pages + 1))
done
[ "$pages" = 7 ] || fail "$pages pages"
[ "$(sort -rn ids | uniq | wc -l)" = 2001 ] && sort -rnc ids || fail "ids: $(wc -l <ids)"
status 200 as "$bot" "$API/boards/lost/topics"
[ "$(python3 -c 'import json; print(len(json.load(open("answer"))["topics"]))')" = 500 ] || fail 'the live list is not the newest 500'

# Close the board; end the token, and with it the stream.
status 200 as "$bot" -X PATCH --json '{"post":"closed"}' "$API/boards/lost"
status 403 as "$bot" --json '{"comment":"too late"}' "$API/boards/lost/topics"
[ "$(field code)" = closed ] || fail "403 with $(cat answer)"
status 204 as "$ADMIN" -X DELETE "$API/tokens/$bot_id"
shows '{"reason":"auth"}'
wait "$stream"
status 401 as "$bot" "$API/boards/lost/topics"
status 204 as "$ADMIN" -X DELETE "$API/boards/lost"
status 200 as "$ADMIN" "$API/audit?limit=1"
grep -q '"action":"board.delete"' answer || fail "the audit says $(cat answer)"
echo done

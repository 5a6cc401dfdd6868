# shellcheck shell=bash
# What the demo puts on the screen: headings, prose, statements with the
# server's own answer, and checks.  Sourced by run.sh.
#
#   heading TITLE            a new, numbered part
#   say TEXT                 a paragraph, wrapped
#   shop STATEMENT           run it as the web shop's own role, which may only
#                            call functions; show statement and answer
#   owner STATEMENT          the same as the owner of the database
#   value QUERY              run it unseen as the owner and print the bare result
#   expect ACTUAL WANTED WHAT
#                            a check: print WHAT and the actual value; end the
#                            demo if it is not the wanted one
#   progress TEXT            replace the last line, on a terminal; nowhere else
#
# `footer=on owner ...` adds psql's "(3 rows)", `void=1 owner ...` leaves out
# the answer of a statement that has nothing to tell.
#
# After shop and owner, `answer` holds what psql printed and `sqlstate` the
# statement's SQLSTATE (00000: it succeeded).

# Tables are up to 80 columns wide; prose stays within that, or within a
# narrower terminal.
width=78
if [[ -t 1 ]]; then
    columns=$(tput cols 2>/dev/null || echo 80)
    ((columns - 2 >= width)) || width=$((columns - 2))
fi

# On a terminal, lines may be replaced and coloured.
live=
if [[ -t 1 && ${TERM:-dumb} != dumb ]]; then
    live=1
fi
bold='' dim='' blue='' green='' red='' plain=''
if [[ -n $live && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' blue=$'\e[36m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

# Seconds to wait before each statement, so that a person can read along.
pace=0
[[ ! -t 1 ]] || pace=1.5

# charset is that of the user's locale, set by run.sh.
# shellcheck disable=SC2154
case $charset in
    UTF-8) tick='✓' cross='✗' lines=unicode rule='─' ;;
    *) tick='ok:' cross='FAILED:' lines=ascii rule='-' ;;
esac

checks_passed=0
part=0
answer=
sqlstate=

heading() {
    local title line
    part=$((part + 1))
    title="$part  $1 "
    line=$(printf "%*s" $((width - ${#title})) '')
    printf '\n%s%s%s%s\n' "$bold" "$title" "${line// /$rule}" "$plain"
}

say() {
    echo
    fold -s -w $width <<<"$1" | sed 's/ *$//'
}

# Show a statement after the prompt $1, run it as role $2, show the answer.
run_statement() {
    local prompt=$1 role=$2 statement=$3 indent
    indent=$(printf "%*s" ${#prompt} '')
    printf '\n  %s%s%s%s%s;%s\n' "$dim" "$prompt" "$plain" "$blue" \
        "${statement//$'\n'/$'\n'  $indent}" "$plain"
    sleep "$pace"
    answer=$(psql -Xq -U "$role" -P border=2 -P linestyle="$lines" \
        -P footer="${footer:-off}" 2>&1 <<SQL
$statement;
\\echo :SQLSTATE
SQL
    ) || true
    sqlstate=${answer##*$'\n'}
    answer=${answer%"$sqlstate"}
    [[ -z ${void:-} ]] || return 0
    # Messages may be long: wrapped, and indented below their first word.
    sed '/^$/d' <<<"$answer" | while IFS= read -r line; do
        case $line in
            ERROR:* | DETAIL:* | HINT:*) print_message "$red" "$line" ;;
            NOTICE:*) print_message "$dim" "$line" ;;
            *) echo "  $line" ;;
        esac
    done
}

print_message() {
    fold -s -w $((width - 11)) <<<"$2" |
        sed -e '2,$s/^/         /' -e "s/^/  $1/" -e "s/ *\$/$plain/"
}

shop() {
    run_statement "$PGDATABASE=> " storefront "$1"
    [[ $sqlstate == 00000 ]] || give_up "the call failed with SQLSTATE $sqlstate"
}

owner() {
    run_statement "$PGDATABASE=# " postgres "$1"
    [[ $sqlstate == 00000 ]] || give_up "the statement failed with SQLSTATE $sqlstate"
}

# A call that the demo expects to be refused with SQLSTATE $1.
shop_refused() {
    run_statement "$PGDATABASE=> " storefront "$2"
    expect "$sqlstate" "$1" "SQLSTATE for the application to act on"
}

value() {
    psql -XAtq -v ON_ERROR_STOP=1 -c "$1"
}

expect() {
    local actual=$1 wanted=$2 what=$3
    [[ $actual == "$wanted" ]] || give_up "$what: $actual, but it should be $wanted"
    printf '  %s%s%s %s: %s\n' "$green" "$tick" "$plain" "$what" "$actual"
    checks_passed=$((checks_passed + 1))
}

give_up() {
    printf '\n%s%s %s%s\n' "$red" "$cross" "$1" "$plain" >&2
    exit 1
}

progress() {
    if [[ -n $live ]]; then
        printf '\r\e[K%s' "${1:+  $1}"
    fi
}

# The version that users see is one: file names, change log and META.json agree
# with the control file.  Earlier versions stay as they are (docs/versions.md).
source=$1 bad=0

version=$(sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" "$source/inventory_reservation.control")
differs() {
    echo "$1 does not agree with default_version = '$version' of the control file"
    bad=1
}
[[ -e $source/sql/inventory_reservation--$version.sql ]] || differs "the name of the script in sql/"
grep -qE "^## \[?${version//./\\.}\]?( |$)" "$source/CHANGELOG.md" || differs CHANGELOG.md
perl -MJSON::PP -e '
    my ($version, $file) = @ARGV;
    open my $in, "<", $file or die "$file: $!\n";
    my $meta = decode_json(join "", <$in>);
    my $it = $meta->{provides}{inventory_reservation};
    exit !($meta->{version} eq $version && $it->{version} eq $version
           && $it->{file} eq "sql/inventory_reservation--$version.sql");
    ' "$version" "$source/META.json" || differs META.json
# The library and inv_version() read a version as three numbers.
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || differs "the form N.N.N"

# What databases have been given is not changed any more.
cd "$source/test/upgrade" || exit
if ! sha256sum --check --quiet SHA256SUMS ||
    ! diff <(printf '%s\n' *--*.sql) <(sed 's/.*  //' SHA256SUMS); then
    echo "an install script in test/upgrade is not as SHA256SUMS has it: changes belong into" \
        "sql/inventory_reservation--$version.sql and the upgrade script that leads to it"
    bad=1
fi
[[ ! -e inventory_reservation--$version.sql ]] || differs "test/upgrade, which keeps earlier versions,"
exit "$bad"

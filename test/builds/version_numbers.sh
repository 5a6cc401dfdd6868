# The version that users see is one: file names, change log and META.json agree
# with the control file.
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
exit "$bad"

# What the tests of upgrades share: an installation of PostgreSQL in which files
# can be replaced, as a package does it, and what the catalogs say of the
# extension, to be compared.
package UpgradeTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use File::Copy qw(copy);
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;
use version;

our @EXPORT = qw(
  $current_version
  @old_versions
  private_installation
  install_version
  install_library
  build_library
  describe_extension
  differences
);

my $extension = 'inventory_reservation';
my $source = "$FindBin::Bin/../..";
my $control = slurp_file("$source/$extension.control");

our ($current_version) = $control =~ /^default_version = '(.*)'$/m;

# Those that databases may have, the earliest first: their install scripts are
# kept for that.
our @old_versions =
  sort { version->parse("v$a") <=> version->parse("v$b") }
  map { basename($_) =~ /--(.*)\.sql$/ }
  glob "$source/test/upgrade/$extension--*.sql";

# A directory of the installation that is first in PATH.
sub directory_of
{
	my ($name) = @_;
	my ($stdout) = run_command([ 'pg_config', "--$name" ]);
	chomp $stdout;
	return $stdout;
}

# A copy of the installation: programs are copied, since they look for the rest
# relative to themselves, and the rest is linked.  Of the extension there is
# what install_version() and install_library() put there.  Returns where its
# parts are: programs (for install_path), extension and library.
sub private_installation
{
	my $root = PostgreSQL::Test::Utils::tempdir;
	my %from = map { $_ => directory_of($_) } qw(bindir pkglibdir sharedir);
	my $top = $from{bindir};
	$top = dirname($top) until !grep { index($_, "$top/") != 0 } @from{qw(pkglibdir sharedir)};
	my %to = map { $_ => $root . substr($from{$_}, length $top) } keys %from;

	foreach my $name (qw(bindir pkglibdir sharedir))
	{
		system_or_bail('mkdir', '-p', $to{$name});
		system_or_bail('cp', $name eq 'bindir' ? '-pT' : '-sT', '-r', $from{$name}, $to{$name});
	}
	system_or_bail('find', $root, '-path', "*/$extension*", '-delete');
	my %installation = (
		programs => dirname($to{bindir}),
		extension => "$to{sharedir}/extension",
		library => "$to{pkglibdir}/$extension.so",
		built => "$from{pkglibdir}/$extension.so");
	install_library(\%installation, $installation{built});
	foreach my $version (@old_versions)
	{
		copy("$source/test/upgrade/$extension--$version.sql", $installation{extension})
		  or die "copy: $!";
	}
	return \%installation;
}

# Replace the library, as a package does: running servers keep the old file.
sub install_library
{
	my ($installation, $file) = @_;

	copy($file, "$installation->{library}.new") or die "copy $file: $!";
	rename("$installation->{library}.new", $installation->{library})
	  or die "rename: $!";
	return;
}

# Install a version's SQL, which CREATE EXTENSION will then make by default.
# The current one comes with the scripts that lead to it.
sub install_version
{
	my ($installation, $version) = @_;
	my $text = $control =~ s/^(default_version = )'.*'$/$1'$version'/mr;

	unlink "$installation->{extension}/$extension.control";
	append_to_file("$installation->{extension}/$extension.control", $text);
	if ($version eq $current_version)
	{
		copy($_, $installation->{extension}) or die "copy: $!"
		  foreach glob "$source/sql/$extension--*.sql";
	}
	return;
}

# A library of this source that takes itself for another version; its file.
sub build_library
{
	my ($version) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;

	local %ENV = %ENV;
	delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL VPATH)};
	system_log('make', '-s', '-j', '2', '-C', $dir, '-f', "$source/Makefile",
		"VPATH=$source", "EXTVERSION=$version", 'COPT=-O0', 'with_llvm=no',
		"PG_CONFIG=$ENV{PG_CONFIG}") == 0
	  or die "the library does not build";
	return "$dir/$extension.so";
}

# What a database's catalogs say of the extension, after "change", which is
# then undone: a hash of lines (test/upgrade/describe.sql).
sub describe_extension
{
	my ($node, $database, $change) = @_;
	my $out = $node->safe_psql($database, join "\n",
		slurp_file("$source/test/upgrade/describe.sql"),
		'BEGIN;', 'SET LOCAL search_path = inv, public;', $change || '', ';',
		'SET LOCAL search_path = pg_catalog;',
		"SELECT pg_temp.describe_extension('$extension');", 'ROLLBACK;');
	my %lines = map { $_ => 1 } split /\n/, $out;

	die "too little is known of the extension" if keys %lines < 1000;
	return \%lines;
}

# How two descriptions differ: lines that only one has, "-" those of the first.
sub differences
{
	my ($one, $other) = @_;
	return (
		(map { "- $_" } grep { !$other->{$_} } sort keys %$one),
		(map { "+ $_" } grep { !$one->{$_} } sort keys %$other));
}

1;

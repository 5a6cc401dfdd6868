#!/usr/bin/perl
# From the runs (build/bench/results.tsv) to docs/benchmarks.md and its charts.
#
#   report.pl RESULTS MACHINE DOCS
#
#   RESULTS   what run.sh recorded, a line a run
#   MACHINE   what machine.pl said
#   DOCS      directory for benchmarks.md and benchmarks/*.svg
#
# Every figure in the page is made here from RESULTS: the median of a row's
# runs.  A ratio is the median of each round's ratio, so that a moment in which
# the machine was slower counts for both sides.  What was not run is said to be
# missing, never filled in.
use strict;
use utf8;
use warnings;

use File::Path qw(make_path);

my ($results_file, $machine_file, $docs) = @ARGV;
die "usage: report.pl RESULTS MACHINE DOCS\n" unless defined $docs;

# $run{row}{peer}{clients}[round] = { column => value }
my (%run, @failed);

# The targets: what is measured against what, and how much is wanted.
# [ title, wanted, [row, peer, clients], [row, peer, clients], column, text ]
# `wanted` is at least, or with a leading '<' at most.  Columns other than
# ops_per_s are divided just the same.
my @targets = (
	target('10,000 SKUs, 16 clients, asynchronous commit, against the twin',
		1.8, 'reserve-uniform-async ours 16', 'reserve-uniform-async twin 16'),
	target('10,000 SKUs, 16 clients, durable, against the twin',
		1.4, 'reserve-uniform ours 16', 'reserve-uniform twin 16'),
	(map { target("one hot SKU, striped, $_->[0] clients, against our own 10,000 SKUs",
		$_->[1], "reserve-hot ours_striped $_->[0]", "reserve-uniform ours $_->[0]") }
	  [ 16, 1.0 ], [ 64, 1.0 ], [ 256, 0.8 ]),
	(map { target("one hot SKU, striped, $_->[0] clients, against the twin's hot SKU",
		$_->[1], "reserve-hot ours_striped $_->[0]", "reserve-hot twin $_->[0]") }
	  [ 16, 7 ], [ 64, 9 ], [ 256, 9 ]),
	target('one hot SKU, one stripe: 256 clients against 16',
		0.8, 'reserve-hot ours 256', 'reserve-hot ours 16'),
	target('one hot SKU, durable, 16 clients, against Redis `appendfsync always`',
		0.8, 'reserve-hot ours_striped 16', 'reserve-hot redis_always 16',
		goal => 1.0),
	target('one hot SKU, 1000 clients pooled, against 1000 on Redis `always`',
		0.6, 'pooled-hot ours_striped 1000', 'pooled-hot redis_always 1000',
		goal => 1.0),
	(map {
		my $call = $_;
		(target("$call, 10,000 SKUs, 16 clients, asynchronous commit, against the twin",
				1.8, "$call-uniform-async ours 16", "$call-uniform-async twin 16"),
			target("$call, 10,000 SKUs, 16 clients, durable, against the twin",
				1.4, "$call-uniform ours 16", "$call-uniform twin 16"),
			map { target("$call, one hot SKU, striped, $_->[0] clients, against the twin's",
				$_->[1], "$call-hot ours_striped $_->[0]", "$call-hot twin $_->[0]") }
			  [ 16, 7 ], [ 64, 9 ], [ 256, 9 ])
	} 'confirm', 'cancel'),
	target('p99 of a reserve on the hot SKU, striped, 64 clients, against the twin\'s',
		0.25, 'reserve-hot ours_striped 64', 'reserve-hot twin 64',
		column => 'p99_ms', at_most => 1),
	target('p99 of a reserve on the hot SKU, one stripe, 64 clients, against the twin\'s',
		0.25, 'reserve-hot ours 64', 'reserve-hot twin 64',
		column => 'p99_ms', at_most => 1),
	target('hot SKU beside an old snapshot, last tenth of the run, against without',
		0.5, 'snapshot-open-end ours_striped 16', 'snapshot-none-end ours_striped 16',
		goal => 0.8),
	target('batches of 100, one hot SKU, durable, against Redis pipelined 100 deep',
		1.5, 'batch-hot ours_striped 16', 'batch-hot redis_always 16'),
	target('batches of 100, 10,000 SKUs, durable, against Redis pipelined 100 deep',
		1.5, 'batch-uniform ours 16', 'batch-uniform redis_always 16'),
	target('sold-out rejections without a key, against a primary-key SELECT',
		0.7, 'sold-out-no-key ours 16', 'primary-key plain_select 16'),
	target('sold-out rejections with a key, against a primary-key SELECT',
		0.7, 'sold-out-key ours 16', 'primary-key plain_select 16'),
	target('the same, one SKU in 64 stripes, without a key',
		0.7, 'sold-out-no-key ours_striped 16', 'primary-key plain_select 16'),
	target('the same, one SKU in 64 stripes, with a key',
		0.7, 'sold-out-key ours_striped 16', 'primary-key plain_select 16'),
	target('cart of 10 lines: lines/s against the twin\'s',
		2.5, 'cart ours 16', 'cart twin 16'),
	target('sweep of 1,000,000 dead holds under load, holds/s, best of 1 and 2 sweepers',
		40000, 'sweep ours 1|sweep ours 2', undef, goal => 100000),
	target('p99 of live reserves during the sweep, against idle, 1 sweeper',
		3, 'sweep ours 1', 'sweep-idle ours 1',
		column => 'p99_ms', at_most => 1),
	target('p99 of live reserves during the sweep, against idle, 2 sweepers',
		3, 'sweep ours 2', 'sweep-idle ours 2',
		column => 'p99_ms', at_most => 1),
	target('closed reservations and their ledger present, against empty',
		0.9, 'history ours_10m 16', 'history ours_empty 16'),
);

my %peer_name = (
	ours => 'inventory_reservation, one stripe',
	ours_striped => 'inventory_reservation, striped',
	ours_empty => 'inventory_reservation, empty',
	ours_10m => 'inventory_reservation, years of history',
	twin => 'PL/pgSQL twin',
	optimistic => 'optimistic version loop',
	for_update => 'SELECT ... FOR UPDATE',
	unit_rows => 'a row per unit, SKIP LOCKED',
	redis_lock => 'Redis lock around SQL',
	plain_select => 'SELECT by primary key',
	redis_always => 'Redis Lua, appendfsync always',
	redis_everysec => 'Redis Lua, appendfsync everysec',
);

# The tables, in the order of the page: row => what it is.
my @rows = (
	[ 'reserve-uniform', 'Reserve, 10,000 SKUs, durable' ],
	[ 'reserve-uniform-async', 'Reserve, 10,000 SKUs, asynchronous commit' ],
	[ 'reserve-hot', 'Reserve, one hot SKU, durable' ],
	[ 'reserve-hot-async', 'Reserve, one hot SKU, asynchronous commit' ],
	[ 'pooled-hot', 'Reserve, one hot SKU, durable, through pgbouncer' ],
	[ 'confirm-uniform', 'Confirm, 10,000 SKUs, durable' ],
	[ 'confirm-uniform-async', 'Confirm, 10,000 SKUs, asynchronous commit' ],
	[ 'confirm-hot', 'Confirm, one hot SKU, durable' ],
	[ 'cancel-uniform', 'Cancel, 10,000 SKUs, durable' ],
	[ 'cancel-uniform-async', 'Cancel, 10,000 SKUs, asynchronous commit' ],
	[ 'cancel-hot', 'Cancel, one hot SKU, durable' ],
	[ 'batch-hot', 'Batches of 100, one hot SKU, durable; holds/s' ],
	[ 'batch-uniform', 'Batches of 100, 10,000 SKUs, durable; holds/s' ],
	[ 'sold-out-no-key', 'Sold-out SKU: rejections, no key given' ],
	[ 'sold-out-key', 'Sold-out SKU: rejections, a new key each' ],
	[ 'primary-key', 'For comparison: prepared SELECT by primary key' ],
	[ 'cart', 'Carts of 10 lines, durable; lines/s' ],
	[ 'sweep', 'Sweep of 1,000,000 dead holds; holds/s (times: the buyers\')' ],
	[ 'sweep-idle', 'The same buyers without the sweep' ],
	[ 'history', 'Reserve, 10,000 SKUs, durable, with and without history' ],
	[ 'snapshot-none', 'Hot SKU for minutes, no old snapshot' ],
	[ 'snapshot-open', 'Hot SKU for minutes, beside an old snapshot' ],
	[ 'snapshot-none-end', 'The last tenth of it, no old snapshot' ],
	[ 'snapshot-open-end', 'The last tenth of it, beside an old snapshot' ],
);

# file => [ title, row, peers, clients ]
my @charts = (
	[ 'reserve-hot', 'Reservations per second, one hot SKU, durable',
		'reserve-hot',
		[ qw(ours_striped ours redis_everysec redis_always twin for_update
			  optimistic unit_rows redis_lock) ],
		[ 16, 64, 256 ], 'ops_per_s' ],
	[ 'reserve-uniform', 'Reservations per second, 10,000 SKUs, durable',
		'reserve-uniform', [ qw(ours redis_always twin) ], [ 16, 64, 256 ],
		'ops_per_s' ],
	[ 'reserve-hot-p99', 'p99 of a reservation in ms, one hot SKU, durable (less is better)',
		'reserve-hot',
		[ qw(ours_striped ours redis_everysec redis_always twin for_update
			  optimistic unit_rows redis_lock) ],
		[ 16, 64, 256 ], 'p99_ms' ],
	[ 'confirm-hot', 'Confirmations per second, one hot SKU, durable',
		'confirm-hot', [ qw(ours_striped ours twin) ], [ 16, 64, 256 ],
		'ops_per_s' ],
	[ 'pooled-hot', 'Reservations per second, one hot SKU, durable, through a pool',
		'pooled-hot', [ qw(ours_striped ours redis_always twin) ], [1000],
		'ops_per_s' ],
	[ 'batch-hot', 'Holds per second in batches of 100, one hot SKU, durable',
		'batch-hot', [ qw(ours_striped ours redis_always) ], [16],
		'ops_per_s' ],
);

read_results();
make_path("$docs/benchmarks");
my @drawn = grep { draw_chart(@$_) } @charts;
write_page();
exit 0;

sub target
{
	my ($title, $wanted, $of, $against, %more) = @_;
	return {
		title => $title, wanted => $wanted, of => $of, against => $against,
		column => 'ops_per_s', %more };
}

sub read_results
{
	open my $handle, '<', $results_file or die "$results_file: $!\n";
	chomp(my $head = <$handle> // die "$results_file is empty\n");
	my @columns = split /\t/, $head;
	while (my $line = <$handle>)
	{
		chomp $line;
		my %value;
		@value{@columns} = split /\t/, $line, -1;
		if ($value{check} ne 'ok')
		{
			push @failed, \%value;
			next;
		}
		push @{ $run{ $value{row} }{ $value{peer} }{ $value{clients} } }, \%value;
	}
	close $handle;
}

sub runs_of
{
	my ($row, $peer, $clients) = split / /, shift;
	return @{ ($run{$row} // {})->{$peer}{$clients} // [] };
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return undef unless @sorted;
	my $middle = int(@sorted / 2);
	return @sorted % 2 ? $sorted[$middle]
	  : ($sorted[ $middle - 1 ] + $sorted[$middle]) / 2;
}

sub median_of
{
	my ($cell, $column) = @_;
	return median(map { $_->{$column} } grep { $_->{$column} ne '' } runs_of($cell));
}

# Measured value of a target: a ratio, or where there is nothing to divide by
# the figure itself; the best where several ways are named.
sub measured
{
	my ($target) = @_;
	my $column = $target->{column};
	unless (defined $target->{against})
	{
		my @values = grep { defined } map { median_of($_, $column) }
		  split /\|/, $target->{of};
		return (sort { $b <=> $a } @values)[0];
	}
	my %against;
	push @{ $against{ $_->{round} } }, $_->{$column}
	  foreach runs_of($target->{against});
	my @ratios;
	foreach my $run (runs_of($target->{of}))
	{
		# There are several of a round where runs were appended.
		my $against = shift @{ $against{ $run->{round} } // [] };
		push @ratios, $run->{$column} / $against if $against;
	}
	return median(@ratios);
}

sub verdict
{
	my ($target, $value) = @_;
	return 'not run' unless defined $value;
	my $met = $target->{at_most} ? $value <= $target->{wanted}
	  : $value >= $target->{wanted};
	return 'missed' unless $met;
	return 'reached' unless defined $target->{goal};
	return $value >= $target->{goal} ? 'reached, and the goal' : 'reached';
}

sub number
{
	my ($value, $digits) = @_;
	return '' unless defined $value && $value ne '';
	my $text = sprintf '%.*f', $digits, $value;
	1 while $text =~ s/^(\d+)(\d{3})/$1,$2/;
	return $text;
}

sub ratio_text
{
	my ($value) = @_;
	return '' unless defined $value;
	return number($value, 0) if $value >= 1000;
	return sprintf($value >= 10 ? '%.1f' : '%.2f', $value) . '×';
}

sub write_page
{
	my $file = "$docs/benchmarks.md";
	open my $page, '>:utf8', $file or die "$file: $!\n";
	select $page;
	print "# Benchmarks\n\n",
	  "Made by `bench/report.pl` from the runs of `make bench` or `make bench-full`;\n",
	  "[bench/README.md](../bench/README.md) says what each row does, what the peers\n",
	  "guarantee, and how to repeat a single figure, [performance.md](performance.md)\n",
	  "what bounds them.  Figures are medians of interleaved rounds, ratios medians of\n",
	  "each round's; column \"runs\" says of how many, and one run is one run.  Each was\n",
	  "checked for overselling.  Ratios hold better than figures on another machine.\n\n";

	print "## The machine\n\n| | |\n|---|---|\n";
	open my $machine, '<:utf8', $machine_file or die "$machine_file: $!\n";
	while (my $line = <$machine>)
	{
		chomp $line;
		print '| ', join(' | ', split /\t/, $line, 2), " |\n";
	}
	close $machine;

	print "\nClients and servers share it; the servers' settings are in\n",
	  "[lib_postgres.sh](../bench/lib_postgres.sh) and [lib_redis.sh](../bench/lib_redis.sh).\n",
	  "\"Durable\": a commit is on disk before it is acknowledged\n",
	  "(`synchronous_commit = on`, for Redis `appendfsync always`).\n\n",
	  "## Targets\n\n| what | wanted | measured | verdict |\n|---|---|---|---|\n";
	foreach my $target (@targets)
	{
		my $value = measured($target);
		my $suffix = defined $target->{against} ? '×' : '';
		my $wanted = ($target->{at_most} ? 'at most ' : '')
		  . number($target->{wanted}, $target->{wanted} < 100 ? 2 : 0) . $suffix;
		$wanted .= ', goal ' . number($target->{goal}, $target->{goal} < 100 ? 2 : 0) . $suffix
		  if defined $target->{goal};
		print join(' | ', '| ' . $target->{title}, $wanted,
			ratio_text($value), verdict($target, $value) . " |\n");
	}

	print "\n## Charts\n" if @drawn;
	print "\n![$_->[1]](benchmarks/$_->[0].svg)\n" foreach @drawn;

	print "\n## All figures\n\n",
	  "Operations a second, times of one call in milliseconds, and bytes of write-ahead\n",
	  "log an operation (not known of Redis).  \"Twin\" is the ratio to the PL/pgSQL twin\n",
	  "with as many clients, where it was run.\n";
	foreach my $row (@rows)
	{
		table(@$row) if $run{ $row->[0] };
	}
	if (@failed)
	{
		print "\n## Runs that failed their check\n\nThey count for nothing above.\n\n";
		print "- $_->{row}, $_->{peer}, $_->{clients} clients, round $_->{round}: $_->{check}\n"
		  foreach @failed;
	}
	select STDOUT;
	close $page or die "$file: $!\n";
}

sub table
{
	my ($row, $title) = @_;
	my $unit = $row eq 'sweep' ? 'sweepers' : 'clients';
	# Some runs fill two rows of the page, or four.
	my $planned = $row =~ s/-(?:idle|none|open)(?:-end)?$//r;
	print "\n### $title\n\n`bench/run.sh full --rows $planned`\n\n",
	  "| peer | $unit | runs | per second | twin | p50 | p95 | p99 | log bytes |\n",
	  "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
	foreach my $clients (sort { $a <=> $b } keys_of($row))
	{
		my @peers = grep { runs_of("$row $_ $clients") } keys %{ $run{$row} };
		my %rate = map { $_ => median_of("$row $_ $clients", 'ops_per_s') } @peers;
		foreach my $peer (sort { $rate{$b} <=> $rate{$a} } @peers)
		{
			my $cell = "$row $peer $clients";
			my $ratio = $peer eq 'twin' ? undef
			  : measured(target('', 0, $cell, "$row twin $clients"));
			my $wal = $peer =~ /^redis_(?!lock)/ ? undef : median_of($cell, 'wal_per_op');
			print '| ', join(' | ', $peer_name{$peer} // $peer, $clients,
				scalar runs_of($cell),
				number($rate{$peer}, 0), ratio_text($ratio),
				(map { number(median_of($cell, $_), 2) } qw(p50_ms p95_ms p99_ms)),
				number($wal, 0)), " |\n";
		}
	}
}

sub keys_of
{
	my ($row) = @_;
	my %seen;
	$seen{$_} = 1 foreach map { keys %$_ } values %{ $run{$row} };
	return keys %seen;
}

# Bars in groups, one group a number of clients.  The colours carry no meaning
# that the labels do not, and follow the reader's light or dark page.
sub draw_chart
{
	my ($name, $title, $row, $peers, $all_clients, $column) = @_;
	my @clients = grep { my $c = $_; grep { runs_of("$row $_ $c") } @$peers } @$all_clients;
	return 0 unless @clients;

	my ($bar, $gap, $label_width, $plot_width) = (18, 4, 250, 400);
	my $width = $label_width + $plot_width + 90;
	my @bars;
	my $y = 44;
	my $most = 0;
	foreach my $clients (@clients)
	{
		$y += 22;
		push @bars, { heading => "$clients clients", y => $y };
		$y += 8;
		foreach my $peer (@$peers)
		{
			my $value = median_of("$row $peer $clients", $column);
			next unless defined $value;
			$most = $value if $value > $most;
			push @bars, { peer => $peer, value => $value, y => $y };
			$y += $bar + $gap;
		}
	}
	my $height = $y + 12;

	my $file = "$docs/benchmarks/$name.svg";
	open my $svg, '>:utf8', $file or die "$file: $!\n";
	print $svg <<"END";
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $width $height" width="$width" height="$height" role="img">
<title>$title</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.clients { font-weight: 600 }
.page { fill: #ffffff }
.ours { fill: #1f6feb }
.redis { fill: #cf4a2f }
.sql { fill: #8b949e }
\@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.page { fill: #0d1117 }
.ours { fill: #58a6ff }
.redis { fill: #f0776a }
.sql { fill: #7d8590 }
}
</style>
<rect class="page" width="$width" height="$height" rx="6"/>
<text class="title" x="12" y="28">$title</text>
END
	foreach my $item (@bars)
	{
		my $line = $item->{y} + 13;
		if ($item->{heading})
		{
			print $svg qq{<text class="clients" x="12" y="$item->{y}">$item->{heading}</text>\n};
			next;
		}
		my $length = sprintf '%.1f', $most > 0 ? $plot_width * $item->{value} / $most : 0;
		my $class = $item->{peer} =~ /^ours/ ? 'ours'
		  : $item->{peer} =~ /^redis_(?!lock)/ ? 'redis' : 'sql';
		my $end = $label_width + $length + 6;
		my $text = number($item->{value}, $column eq 'ops_per_s' ? 0 : 1);
		my $right = $label_width - 8;
		print $svg
		  qq{<text x="$right" y="$line" text-anchor="end">$peer_name{ $item->{peer} }</text>\n},
		  qq{<rect class="$class" x="$label_width" y="$item->{y}" width="$length" height="$bar" rx="2"/>\n},
		  qq{<text x="$end" y="$line">$text</text>\n};
	}
	print $svg "</svg>\n";
	close $svg or die "$file: $!\n";
	return 1;
}

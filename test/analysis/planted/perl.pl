# For perl -c: a name that is misspelt.
use strict;
use warnings;

my $quantity = 1;
print $quantitiy;

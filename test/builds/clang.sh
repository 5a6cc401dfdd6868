# The other compiler warns of other things: in our source, not in PostgreSQL's
# headers, which were configured for gcc, and not of gcc's options.
pgxs=$("$PG_CONFIG" --pgxs)
clang=$(sed -n 's/^CLANG *= *//p' "${pgxs%/makefiles/*}/Makefile.global")
options=(-isystem "$("$PG_CONFIG" --includedir-server)"
    -Wno-unknown-warning-option -Wno-ignored-optimization-argument)
cp -r "$1" tree
make -C tree -j8 -s all with_llvm=no CC="$clang" COPT="${options[*]}"
# The compiler signs its work.
readelf --string-dump=.comment tree/inventory_reservation.so | grep clang

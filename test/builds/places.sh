# Where one builds makes no difference.
#
# In the source directory, as packagers and the impatient do: `make -j8` of all
# and install at once, so nothing may be used before it is made.  A second make
# has nothing to do, and `make clean` leaves what was there before.
#
# Elsewhere (VPATH): nothing is written into the source, and no object is taken
# from it.  One of another PostgreSQL may well be lying about there.
make_all=(make -j8 -s all install with_llvm=no)

cp -r "$1" tree
"${make_all[@]}" -C tree DESTDIR="$PWD/installed_inside"
touch before_second
sleep 0.01
make -C tree -j8 -s all with_llvm=no
made=$(find tree -newer before_second -type f)
[[ -z $made ]] || { echo "a second make made again: $made"; exit 1; }
make -C tree -s clean with_llvm=no
diff -r "$1" tree

for source in tree/src/*.c tree/src/*/*.c; do
    echo "not an object" >"${source%.c}.o"
done
cp -r tree tree_before
mkdir outside
"${make_all[@]}" -C outside -f ../tree/Makefile VPATH="$PWD/tree" \
    DESTDIR="$PWD/installed_outside"
diff -r tree_before tree
# The library tells where it was compiled; all else is the same.
diff -r -x '*.so' installed_inside installed_outside
list() { (cd "$1" && find . -type f | sort); }
diff <(list installed_inside) <(list installed_outside)

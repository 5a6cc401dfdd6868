# Compiles each, with the modules that lie beside it or above.  A name used once
# is what Perl says of the variables of a module that is loaded at run time.
# (094_disk_full starts itself again while it is compiled, but for that variable.)
status=0
export INVENTORY_OWN_MOUNTS=1
for file; do
    said=$(perl -I "$PGXS/test/perl" -I test/t -I "${file%/*}" -I "${file%/*}/.." -w -M-warnings=once \
        -c "$file" 2>&1) || status=1
    if [[ $said != "$file syntax OK" ]]; then
        echo "$said"
        status=1
    fi
done
exit $status

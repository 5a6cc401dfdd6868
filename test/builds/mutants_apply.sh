# The bugs that the simulator has to find (test/simulator/mutants) are patches
# of the source as it is.  To plant them takes an hour; that they can be planted
# is seen here.
source=$1 bad=0

# Only the systems that PostgreSQL's other versions are tested on lack it.
if ! command -v git >/dev/null; then
    echo "without git this is not looked at"
    exit 0
fi
cd "$source" || exit
export GIT_CEILING_DIRECTORIES=${source%/*}
for patch in test/simulator/mutants/*.patch; do
    git apply --check "$patch" || bad=1
done
exit "$bad"

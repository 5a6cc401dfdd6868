# What can be told without PostgreSQL's headers, in which Debian's gets lost.
cppcheck --quiet -j 2 --std=c99 --enable=warning,performance,portability --inline-suppr \
    --error-exitcode=1 -Isrc "$@"

/* For cppcheck: writes behind the end. */
extern int	behind_the_end(void);

int
behind_the_end(void)
{
	int			stripes[4];

	for (int i = 0; i <= 4; i++)
		stripes[i] = i;
	return stripes[0];
}

/*
 * reservation.h
 *		Reservations and their lines.
 */
#ifndef INVENTORY_RESERVATION_H
#define INVENTORY_RESERVATION_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog/compat.h"
#include "records/stock.h"
#include "table/row.h"

typedef enum ReservationStatus
{
	RESERVATION_ACTIVE,
	RESERVATION_CONFIRMING,
	RESERVATION_CONFIRMED,
	RESERVATION_CANCELLED,
	RESERVATION_EXPIRED
} ReservationStatus;

typedef struct ReservationLine
{
	ItemPointerData tid;
	pg_uuid_t	reservation_id;
	int32		line_no;
	StockKey	stock;			/* the stock row that it sits on */
	int64		quantity;		/* units; 0: all of it was released */
	int64		returned;		/* units that came back after the sale */
	Datum		unit_price;		/* numeric */
	char	   *currency;
	ReservationStatus status;
	char	   *customer;
	char	   *reference;
	TimestampTz expires_at;
	TimestampTz created_at;
	Datum		metadata;		/* jsonb, 0 for null; set for inserting only */
} ReservationLine;

typedef struct Reservation
{
	pg_uuid_t	id;
	int			count;
	ReservationLine *lines;		/* by line_no, from 1 */
} Reservation;

extern bool line_find(Call *call, const pg_uuid_t *id, int32 line_no,
					  ReservationLine *line, TimestampTz *closed_at);
extern bool reservation_find(Call *call, const pg_uuid_t *id,
							 Reservation *reservation);
extern RowLock reservation_lock(Call *call, const pg_uuid_t *id, RowWait wait,
								Reservation *reservation);
pg_noreturn extern void reservation_report_unknown(const pg_uuid_t *id);

extern ReservationStatus reservation_status(const Reservation *reservation,
											TimestampTz now);
extern const char *reservation_status_name(ReservationStatus status);
extern void reservation_add_stock(const Reservation *reservation,
								  StockSet *set);

extern void line_insert(Call *call, const ReservationLine *line);
extern void line_close(Call *call, ReservationLine *line,
					   ReservationStatus status, TimestampTz now);
extern void line_sell_expired(Call *call, ReservationLine *line,
							  const StockKey *stock, TimestampTz now);
extern void line_set_quantity(Call *call, ReservationLine *line,
							  int64 quantity);
extern void line_set_returned(Call *call, ReservationLine *line,
							  int64 returned);
extern void line_set_expires_at(Call *call, ReservationLine *line,
								TimestampTz expires_at);

/* Walks over active lines; the callers' rules decide what to do with them. */
extern void dead_lines_walk(RowWalk *walk, Call *call, TimestampTz now);
extern void held_lines_walk(RowWalk *walk, Call *call, const StockKey *stock,
							TimestampTz dead_at);
extern void line_read(ReservationLine *line, TupleTableSlot *slot);
extern void line_read_units(ReservationLine *line, TupleTableSlot *slot);
extern RowLock line_lock_dead(Call *call, ReservationLine *line,
							  bool reservation_locked, TimestampTz now);
extern int64 dead_units(Call *call, int64 item_id, int32 location_id,
						TimestampTz from, TimestampTz now, int64 enough);

extern char *uuid_text(const pg_uuid_t *id);

#endif							/* INVENTORY_RESERVATION_H */

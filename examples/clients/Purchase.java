// Buy some units of a SKU: hold them, have them paid, sell them.
//
//     java -cp /usr/share/java/postgresql.jar Purchase.java SKU QUANTITY CUSTOMER [KEY]
//
// The key stands for the purchase.  It is drawn once, before the first attempt,
// and goes into every call, so a call whose answer got lost can be repeated: it
// counts once.  Given on the command line, it resumes a purchase that broke off.
//
// Exit status 3: nothing was bought, for the reason printed.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;

public class Purchase {
    static final int ATTEMPTS = 8;
    static final List<String> LOST_A_RACE = List.of("40001", "40P01");
    // The hold died while it was paid, and its units are sold or more than the buyer
    // may have by now; or the shop has stopped selling them, or cancelled the hold.
    static final List<String> GONE = List.of("IV001", "IV006", "IV007", "IV008");

    record Hold(UUID id, String status, long available, String total) {}

    static class NotBought extends Exception {
        NotBought(String reason) {
            super(reason);
        }
    }

    interface Work<T> {
        T in(Connection connection) throws SQLException;
    }

    static Connection connection;

    // PGHOST and so on, as other clients have them, but only over TCP: JDBC has
    // no Unix sockets.
    static Connection connect() throws SQLException {
        Map<String, String> env = System.getenv();
        Properties settings = new Properties();
        settings.setProperty("user", env.getOrDefault("PGUSER", System.getProperty("user.name")));
        settings.setProperty("password", env.getOrDefault("PGPASSWORD", ""));
        // A statement that is prepared and kept may be missing in the next
        // connection that pgbouncer gives us.
        settings.setProperty("prepareThreshold", "0");
        Connection made = DriverManager.getConnection(String.format("jdbc:postgresql://%s:%s/%s",
            env.getOrDefault("PGHOST", "localhost"), env.getOrDefault("PGPORT", "5432"),
            env.getOrDefault("PGDATABASE", settings.getProperty("user"))), settings);
        made.setAutoCommit(false);
        return made;
    }

    // Class 08, or the server shutting down or starting (57P0x).
    static boolean connectionBroke(SQLException error) {
        String state = error.getSQLState();
        return state == null || state.startsWith("08") || state.startsWith("57P0");
    }

    // Run work in a transaction and return what it returned.
    //
    // Begins anew when it lost a race, and when the connection broke.  Whether it
    // was committed nobody knows then, so all calls in it have a key.
    static <T> T transaction(Work<T> work) throws Exception {
        for (int attempt = 1;; attempt++) {
            try {
                if (connection == null) {
                    connection = connect();
                }
                T result = work.in(connection);
                connection.commit();
                return result;
            } catch (SQLException error) {
                if (connectionBroke(error)) {
                    if (connection != null) {
                        connection.close();
                    }
                    connection = null;
                } else {
                    connection.rollback();
                    if (!LOST_A_RACE.contains(error.getSQLState())) {
                        throw error;
                    }
                }
                if (attempt == ATTEMPTS) {
                    throw error;
                }
                System.err.println("again: " + error.getSQLState());
            }
            // Random, so that those who collided do not meet again.
            Thread.sleep(ThreadLocalRandom.current().nextLong(Math.min(2000, 25L << attempt)));
        }
    }

    // The one row that a call returns.
    static ResultSet row(Connection db, String sql, Object... arguments) throws SQLException {
        PreparedStatement call = db.prepareStatement(sql);
        for (int i = 0; i < arguments.length; i++) {
            call.setObject(i + 1, arguments[i]);
        }
        ResultSet row = call.executeQuery();
        row.next();
        return row;
    }

    // Stands for the payment service: the program $PAYMENT.  Whether it agreed.
    //
    // It is told the key too, and has to charge and refund once for each key.
    static boolean payment(String verb, String key, String amount) throws Exception {
        String program = System.getenv().getOrDefault("PAYMENT", "true");
        return new ProcessBuilder(program, verb, key, amount).inheritIO().start().waitFor() == 0;
    }

    static void refund(String key, String amount) throws Exception {
        if (!payment("refund", key, amount)) {
            throw new Exception(amount + " paid under key " + key + " could not be returned");
        }
    }

    static Hold reserve(Connection db, String sku, long quantity, String customer, String key)
            throws SQLException {
        ResultSet answer = row(db,
            "SELECT reservation_id, status, available"
            + "  FROM inv.inv_try_reserve(?, ?, key => ?, customer => ?,"
            + "                           ttl => '15 minutes')",
            sku, quantity, key, customer);
        UUID id = answer.getObject("reservation_id", UUID.class);
        String total = id == null ? null
            : row(db, "SELECT total FROM inv.inv_reservation_status(?)", id).getString("total");
        return new Hold(id, answer.getString("status"), answer.getLong("available"), total);
    }

    // Rows of your own that go with the order are written in here as well.
    static UUID confirm(Connection db, UUID hold, String customer, String key) throws SQLException {
        return row(db,
            "SELECT order_id"
            + "  FROM inv.inv_confirm(?, key => ?, customer => ?,"
            + "                       payment_status => 'paid', retake => true)",
            hold, key, customer).getObject("order_id", UUID.class);
    }

    static void buy(String sku, long quantity, String customer, String key) throws Exception {
        System.out.println("key " + key);
        Hold hold = transaction(db -> reserve(db, sku, quantity, customer, key));
        if (hold.id() == null) {
            throw new NotBought("sold out, " + hold.available() + " left");
        }
        System.out.println("held " + hold.id());
        if (List.of("cancelled", "expired").contains(hold.status())) {
            // An earlier run came as far as this; it may have been paid.
            refund(key, hold.total());
            throw new NotBought(hold.status() + ", begin anew with another key");
        }

        // Paid between the transactions: nobody waits for stock meanwhile.
        if (!payment("charge", key, hold.total())) {
            transaction(db -> row(db, "SELECT inv.inv_cancel(?, key => ?, customer => ?)",
                hold.id(), key, customer));
            throw new NotBought("payment declined, hold cancelled");
        }
        System.out.println("paid " + hold.total());
        try {
            System.out.println("sold " + transaction(db -> confirm(db, hold.id(), customer, key)));
        } catch (SQLException error) {
            if (!GONE.contains(error.getSQLState())) {
                throw error;
            }
            refund(key, hold.total());
            throw new NotBought("too late, payment returned");
        }
    }

    public static void main(String[] args) throws Exception {
        if (args.length < 3 || args.length > 4) {
            System.err.println("usage: java Purchase.java SKU QUANTITY CUSTOMER [KEY]");
            System.exit(1);
        }
        try {
            buy(args[0], Long.parseLong(args[1]), args[2],
                args.length == 4 ? args[3] : UUID.randomUUID().toString());
        } catch (NotBought reason) {
            System.out.println(reason.getMessage());
            System.exit(3);
        }
    }
}

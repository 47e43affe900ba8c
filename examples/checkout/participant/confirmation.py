"""Tell the customer. A mail cannot be taken back, so its undo sends another one, a cancellation notice.

The mails are rows here, in the database of the barrier, so that work and verdict commit together. A mail server would be given the key
`run/step` instead, to take once.
"""

STEP = "send-confirmation"


class Confirmation:
    def create(self, db):
        db.execute(
            "CREATE TABLE IF NOT EXISTS mails (run TEXT, step TEXT, order_id TEXT NOT NULL, cancelled INTEGER NOT NULL,"
            " PRIMARY KEY (run, step))"
        )

    def execute(self, db, command):
        order_id = command.input()["order_id"]
        db.execute("INSERT INTO mails VALUES (?, ?, ?, 0)", (command.run, command.step, order_id))
        return {"event": "confirmation-sent", "order_id": order_id, "status": "success"}

    def undo(self, db, command):
        # Also where no mail is known of: it is called only if one may have been sent all the same.
        db.execute(
            "INSERT INTO mails VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET cancelled = 1",
            (command.run, command.step, command.attributes["subject"]),
        )

    def report(self, db):
        standing = [id for (id,) in db.execute("SELECT order_id FROM mails WHERE cancelled = 0 ORDER BY order_id")]
        holds = {"orders": len(standing)} if standing else {}
        return {"sub_case": STEP, "standing": standing, "holds": holds}

"""The barrier's duties, each as docs/wire.md counts them. Run: python -m unittest discover -s examples/checkout/participant"""

import sqlite3
import tempfile
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path

from barrier import Barrier, Rejected
from confirmation import STEP, Confirmation
from desk import Desk
from message import Command, Unreadable

OUTPUT = '{"event": "confirmation-sent", "order_id": "12345", "status": "success"}'


def attributes(action="execute", round=1, **more):
    return {
        "type": "saga.command",
        "subject": "12345",
        "saga": "checkout",
        "run": "7" * 32,
        "step": STEP,
        "action": action,
        "round": str(round),
        "replyto": "checkout.replies",
        "time": datetime.now(timezone.utc).isoformat(),
    } | more


def command(action="execute", round=1, body=b'{"order_id":"12345","customer_id":"c"}', **more):
    return Command.read(attributes(action, round, **more), body)


class Trouble(Confirmation):
    """It has an effect, and then an error."""

    def __init__(self, error):
        self.error = error

    def execute(self, db, command):
        super().execute(db, command)
        self.fail()

    def undo(self, db, command):
        super().undo(db, command)
        self.fail()

    def fail(self):
        if self.error:
            raise self.error


class BarrierTest(unittest.TestCase):
    def setUp(self):
        self.begin(Confirmation())

    def begin(self, work):
        self.barrier = Barrier(":memory:", work)

    def ask(self, action, round=1, **more):
        answered = self.barrier.answer(command(action, round, **more))
        return answered and answered.verdict

    def mails(self):
        return self.barrier.db.execute("SELECT order_id, cancelled FROM mails").fetchall()

    def test_executed_twice_is_done_once_and_answered_the_same(self):
        first, second = (self.barrier.answer(command()) for _ in range(2))
        self.assertEqual((first.verdict, first.body), ("succeeded", OUTPUT))
        self.assertEqual(first, second)
        self.assertEqual(self.mails(), [("12345", 0)])

    def test_an_undo_undoes_once_and_is_answered_again(self):
        self.ask("execute")
        self.assertEqual([self.ask("undo", verdict="succeeded") for _ in range(2)], ["undone", "undone"])
        self.assertEqual(self.mails(), [("12345", 1)])

    def test_after_an_undo_nothing_has_an_effect(self):
        self.assertEqual(self.ask("undo"), "undone")
        self.assertEqual([self.ask("execute", round) for round in (1, 2)], ["rejected", "rejected"])
        self.assertEqual(self.mails(), [])

    def test_a_late_copy_of_an_execute_does_not_do_again_what_is_undone(self):
        self.ask("execute")
        self.ask("undo")
        self.assertEqual(self.ask("execute"), "succeeded", "what it was; the coordinator knows that it is undone")
        self.assertEqual(self.mails(), [("12345", 1)])

    def test_a_fence_before_the_execute_seals_the_row_until_a_later_round(self):
        self.assertEqual(self.ask("fence"), "no-effect")
        self.assertEqual(self.ask("execute"), "rejected")
        self.assertEqual(self.mails(), [])
        self.assertEqual(self.ask("execute", 2), "succeeded")
        self.assertEqual(self.mails(), [("12345", 0)])

    def test_a_fence_after_the_execute_tells_what_was_done(self):
        self.ask("execute")
        answers = [self.barrier.answer(command("fence")) for _ in range(2)]
        self.assertEqual([(answer.verdict, answer.body) for answer in answers], [("done", OUTPUT)] * 2)
        self.assertEqual(self.mails(), [("12345", 0)], "a fence undoes nothing")

    def test_a_fence_after_an_undo_finds_no_effect(self):
        self.ask("execute")
        self.ask("undo")
        self.assertEqual(self.ask("fence", 2), "no-effect")

    def test_an_undo_of_a_round_that_was_fenced_is_not_answered_and_a_later_one_is(self):
        self.ask("fence", 2)
        self.assertIsNone(self.ask("undo", 2))
        self.assertEqual(self.ask("undo", 3), "undone")

    def test_a_failure_counts_for_its_round_only_and_a_success_for_all(self):
        self.begin(Trouble(Rejected("the mailbox is full")))
        self.assertEqual([self.ask("execute", 2) for _ in range(2)], ["rejected", "rejected"])
        self.barrier.work.error = None
        self.assertEqual(self.ask("execute", 2), "rejected", "the first verdict of a round stands")
        self.assertIsNone(self.ask("execute", 1), "a round that is over is not answered")
        self.assertEqual(self.ask("execute", 3), "succeeded")
        self.assertEqual([self.ask("execute", round) for round in (1, 2, 9)], ["succeeded"] * 3)
        self.assertEqual(self.mails(), [("12345", 0)])

    def test_a_lower_round_is_not_answered(self):
        self.begin(Trouble(Rejected("no")))
        self.ask("execute", 3)
        self.assertEqual([self.ask(action, 2) for action in ("execute", "undo", "fence")], [None] * 3)

    def test_what_goes_wrong_leaves_nothing_and_says_so(self):
        self.begin(Trouble(ZeroDivisionError()))
        answered = self.barrier.answer(command())
        self.assertEqual((answered.verdict, answered.dead), ("rejected", "ZeroDivisionError()"))
        self.assertEqual(self.mails(), [])
        self.assertEqual(self.ask("undo"), "undone", "there is nothing to undo, so its work is not called")

    def test_an_undo_that_fails_waits_for_the_next_round(self):
        self.ask("execute")
        self.barrier.work = Trouble(ZeroDivisionError())
        self.assertEqual(self.ask("undo"), "undo-failed")
        self.barrier.work = Confirmation()
        self.assertEqual([self.ask("undo"), self.ask("fence")], ["undo-failed", "unknown"])
        self.assertEqual(self.mails(), [("12345", 0)])
        self.assertEqual(self.ask("undo", 2), "undone")
        self.assertEqual(self.mails(), [("12345", 1)])

    def test_an_input_that_cannot_be_read_is_refused_and_kept(self):
        for body in (b"{", b"{}", b"[]", b'{"order_id":null}', b'{"order_id":[1]}'):
            self.begin(Confirmation())
            answered = self.barrier.answer(command(body=body))
            self.assertEqual((answered.verdict, bool(answered.dead)), ("rejected", True), body)

    def test_a_missing_row_proves_nothing_where_it_may_have_been_lost(self):
        old = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
        self.assertEqual(self.ask("undo", time=old), "undone")
        self.assertEqual(self.mails(), [("12345", 1)], "the notice goes out all the same")
        self.begin(Trouble(Rejected("no")))
        self.assertEqual(self.ask("execute", time=old), "failed", "not all attempts are known to have had no effect")
        self.begin(Confirmation())
        self.assertEqual(self.ask("fence", time=old), "unknown")
        self.begin(Confirmation())
        self.assertEqual(self.ask("fence", verdict="succeeded", output=OUTPUT), "done")

    def test_an_error_of_the_database_changes_nothing(self):
        self.begin(Trouble(sqlite3.OperationalError("disk is full")))
        with self.assertRaises(sqlite3.OperationalError):
            self.ask("execute")
        self.assertEqual(self.mails(), [])
        self.barrier.work.error = None
        self.assertEqual(self.ask("execute"), "succeeded")

    def test_rows_outlive_the_process(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "confirmation.db"
            for _ in range(2):
                barrier = Barrier(path, Confirmation())
                self.assertEqual(barrier.answer(command()).verdict, "succeeded")
                self.assertEqual(barrier.work.report(barrier.db)["standing"], ["12345"])
                barrier.db.close()


class DeskTest(unittest.TestCase):
    def setUp(self):
        self.desk = Desk(Barrier(":memory:", Confirmation()), None)

    def test_a_reply_echoes_what_it_answers(self):
        asked = attributes(traceparent="00-1-2-03")
        reply = self.desk.answer(asked, b'{"order_id":"12345"}').reply
        self.assertEqual((reply.topic, reply.key, reply.body.decode()), ("checkout.replies", "12345", OUTPUT))
        for name in ("subject", "saga", "run", "step", "action", "round", "traceparent"):
            self.assertEqual(reply.attributes[name], asked[name])
        self.assertEqual(reply.attributes["id"], f"{'7' * 32}/{STEP}/execute/1/reply")

    def test_what_is_no_command_is_a_dead_letter_without_a_reply(self):
        for wrong in (
            {"type": "saga.reply"}, {"action": "dance"}, {"round": "0"}, {"round": "x"}, {"run": ""}, {"time": "noon"},
            {"time": "2026-11-26T22:15:30"}, {"verdict": "maybe"}, {"replyto": ""},
        ):
            with self.assertRaises(Unreadable):
                Command.read(attributes(**wrong), b"{}")
            answer = self.desk.answer(attributes(**wrong), b"{}")
            self.assertIsNone(answer.reply)
            self.assertTrue(answer.dead)

    def test_a_round_that_is_over_is_settled_without_a_word(self):
        self.desk.answer(attributes("fence", 2), b"")
        answer = self.desk.answer(attributes("execute", 1), b"")
        self.assertEqual((answer.reply, answer.dead), (None, None))


if __name__ == "__main__":
    unittest.main()

//! What becomes of a command, by how its handler ends.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_success_is_published_before_its_command_is_acknowledged() {
    let rig = Rig::new();
    let _running = rig.execute(|n, _| async move { Ok(n + 1) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    let [Done::Published(reply), Done::Acked] = &diary[..] else { panic!("{diary:?}") };
    assert_eq!(reply.topic.as_str(), "checkout.replies");
    let reply = Reply::parse(reply).unwrap().unwrap();
    assert_eq!(reply.report, succeeded("21"));
    assert_eq!(reply.traceparent, command(Action::Execute).traceparent);
}

#[tokio::test(start_paused = true)]
async fn the_handler_is_told_what_it_serves() {
    let rig = Rig::new();
    let _running = rig.execute(|_, ctx| async move {
        assert_eq!((&*ctx.step, ctx.action, ctx.round, ctx.attempt), ("payment", Action::Execute, 1, 1));
        assert_eq!(ctx.time_limit, ms(28_000));
        assert_eq!(ctx.traceparent, command(Action::Execute).traceparent);
        assert_eq!(ctx.saga, command(Action::Execute).key);
        Ok(1)
    });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    assert!(
        matches!(&diary[..], [Done::Published(reply), Done::Acked] if report(reply) == succeeded("1")),
        "{diary:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_repeated_after_the_backoff() {
    let rig = Rig::new();
    let _running = rig.execute(|_, ctx| async move {
        match ctx.attempt {
            1 => Err("x".parse::<u32>().unwrap_err().into()),
            2 => Err(StepError::retry_after(ms(5_000), "too early")),
            attempt => Ok(attempt),
        }
    });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    let [Done::Retried(first), Done::Retried(second), Done::Published(reply), Done::Acked] = &diary[..]
    else {
        panic!("{diary:?}")
    };
    assert!((ms(50)..=ms(100)).contains(first), "{first:?}");
    assert_eq!(*second, ms(5_000), "what the handler asked for is the least");
    assert_eq!(report(reply), succeeded("3"));
}

#[tokio::test(start_paused = true)]
async fn the_commands_own_retry_goes_before_the_participants() {
    let rig = Rig::new();
    let _running = rig.execute(|_, _| async { Err(StepError::retry("away")) });
    rig.bus.send(Command { retry: Some(Retry::NEVER), ..command(Action::Execute) });
    let diary = rig.bus.settled(1).await;
    assert!(matches!(&diary[..], [Done::Published(_), Done::Dead(_)]), "{diary:?}");
}

#[tokio::test(start_paused = true)]
async fn spent_attempts_are_a_failure_and_a_dead_letter_with_evidence() {
    let rig = Rig::new();
    let _running = rig.execute(|_, _| async { Err(StepError::retry("the bank is away")) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    let [Done::Retried(_), Done::Retried(_), Done::Published(reply), Done::Dead(evidence)] = &diary[..]
    else {
        panic!("{diary:?}")
    };
    assert!(matches!(report(reply), Report::Failed { .. }));
    assert_eq!(reason(report(reply)), "3 attempts: the bank is away");
    for part in ["attempt 3 to execute", "step payment", "checkout/12345", "the bank is away"] {
        assert!(evidence.contains(part), "{evidence}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_answered_and_its_command_acknowledged() {
    let rig = Rig::new();
    let _running = rig.execute(|_, _| async { Err(StepError::reject("no money")) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    let [Done::Published(reply), Done::Acked] = &diary[..] else { panic!("{diary:?}") };
    assert_eq!(report(reply), Report::Rejected { reason: "no money".into() });
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_failed_attempt_is_a_failure() {
    let rig = Rig::new();
    let _running = rig.execute(|_, ctx| async move {
        Err(if ctx.attempt == 1 { StepError::retry("away") } else { StepError::reject("no money") })
    });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    let [Done::Retried(_), Done::Published(reply), Done::Acked] = &diary[..] else { panic!("{diary:?}") };
    assert!(matches!(report(reply), Report::Failed { .. }));
}

#[tokio::test(start_paused = true)]
async fn giving_up_is_a_failure_and_a_dead_letter() {
    let rig = Rig::new();
    let _running = rig.execute(|_, _| async { Err(StepError::fail("half done")) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    let [Done::Published(reply), Done::Dead(evidence)] = &diary[..] else { panic!("{diary:?}") };
    assert_eq!(report(reply), Report::Failed { reason: "half done".into() });
    assert!(evidence.contains("half done"), "{evidence}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_attempt() {
    for now in [true, false] {
        let mut rig = Rig::new();
        rig.options.retry = Retry::NEVER;
        let _running = rig.execute(move |n, _| {
            assert!(!now, "the closure broke on {n}");
            async move {
                tokio::task::yield_now().await;
                panic!("the future broke on {n}")
            }
        });
        rig.bus.send(command(Action::Execute));
        let diary = rig.bus.settled(1).await;
        let [Done::Published(reply), Done::Dead(_)] = &diary[..] else { panic!("{diary:?}") };
        let reason = reason(report(reply));
        assert!(reason.starts_with("it panicked: the ") && reason.ends_with("broke on 20"), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_cut_off_before_its_claim_runs_out() {
    let mut rig = Rig::new();
    rig.options.retry = Retry::NEVER;
    let began = tokio::time::Instant::now();
    let _running = rig.execute(|_, _| std::future::pending());
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    assert_eq!(began.elapsed(), ms(28_000));
    let [Done::Published(reply), Done::Dead(_)] = &diary[..] else { panic!("{diary:?}") };
    assert_eq!(reason(report(reply)), "it was cut off after 28000 ms");
}

#[tokio::test(start_paused = true)]
async fn an_input_that_cannot_be_decoded_is_refused_and_put_with_the_dead_letters() {
    let rig = Rig::new();
    let _running = rig.execute(|_, _| async { panic!("never called") });
    rig.bus.send(Command { input: Payload::from("\"twenty\""), ..command(Action::Execute) });
    let diary = rig.bus.settled(1).await;
    let [Done::Published(reply), Done::Dead(why)] = &diary[..] else { panic!("{diary:?}") };
    assert!(matches!(report(reply), Report::Rejected { .. }));
    assert!(why.contains("cannot be read"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_command_is_put_with_the_dead_letters() {
    let rig = Rig::new();
    let _running = rig.execute(|_, _| async { panic!("never called") });
    rig.bus.deliver(Message::new(Topic::new("pay").unwrap(), "20"), 1);
    let diary = rig.bus.settled(1).await;
    assert!(
        matches!(&diary[..], [Done::Dead(why)] if why.contains("attribute action is missing")),
        "{diary:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_undo_is_told_the_output() {
    let rig = Rig::new();
    let running = rig.execute(|n, _| async move { Ok(n + 1) });
    rig.bus.send(command(Action::Execute));
    rig.bus.settled(1).await;
    running.stop().await.unwrap();
    let _running = rig.undo(|undo, ctx| async move {
        assert_eq!((undo.input, undo.output, ctx.action), (20, Some(21), Action::Undo));
        Ok(())
    });
    rig.bus.send(command(Action::Undo));
    let diary = rig.bus.settled(2).await;
    let [.., Done::Published(reply), Done::Acked] = &diary[..] else { panic!("{diary:?}") };
    assert_eq!(report(reply), Report::Undone);
}

#[tokio::test(start_paused = true)]
async fn an_undo_cannot_be_refused() {
    let rig = Rig::new();
    let _running = rig.undo(|_, _| async { Err(StepError::reject("too late")) });
    rig.bus.send(undo());
    let diary = rig.bus.settled(1).await;
    let [Done::Retried(_), Done::Retried(_), Done::Published(reply), Done::Dead(_)] = &diary[..] else {
        panic!("{diary:?}")
    };
    assert!(matches!(report(reply), Report::UndoFailed { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_cannot_read_its_input_has_failed() {
    let rig = Rig::new();
    let _running = rig.undo(|_, _| async { panic!("never called") });
    rig.bus.send(Command { input: Payload::from("\"twenty\""), ..undo() });
    let diary = rig.bus.settled(1).await;
    let [Done::Published(reply), Done::Dead(_)] = &diary[..] else { panic!("{diary:?}") };
    assert!(matches!(report(reply), Report::UndoFailed { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_fence_is_answered_without_the_handler() {
    let rig = Rig::new();
    let _running = rig.execute(|_, _| async { panic!("never called") });
    rig.bus.send(command(Action::Fence));
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(2).await;
    let replies = diary.iter().filter_map(|done| match done {
        Done::Published(reply) => Some(report(reply)),
        _ => None,
    });
    let [Report::Fenced { .. }, Report::Rejected { .. }] = replies.collect::<Vec<_>>()[..] else {
        panic!("{diary:?}")
    };
}

#[tokio::test(start_paused = true)]
async fn a_long_reason_is_cut() {
    let rig = Rig::new();
    let _running = rig.execute(|_, _| async { Err(StepError::reject("ü".repeat(100_000))) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    let [Done::Published(reply), Done::Acked] = &diary[..] else { panic!("{diary:?}") };
    assert_eq!(reason(report(reply)), "ü".repeat(2_048));
}

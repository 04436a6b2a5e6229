//! From the lane of the journal's answers to those who wait for them.

use std::rc::Rc;

use super::Ingress;

/// Takes the journal's answers to those who wait. The first belong to requests of a run before this one, if any
/// were under way when it ended.
pub(super) async fn pump(ingress: Rc<Ingress>) {
    let ends = Rc::clone(&ingress.ends);
    let mut foreign = ends.under_way.borrow().len();
    loop {
        let mut count = 0;
        loop {
            let Some(ack) = ends.acks.borrow_mut().pop() else { break };
            ends.under_way.borrow_mut().answered();
            count += 1;
            if foreign > 0 {
                foreign -= 1;
            } else {
                let slot = ingress.waiting.borrow_mut().answer(ack);
                if let Some((held, ack)) = slot {
                    ingress.tell(held, Some(&ack));
                }
            }
        }
        ingress.write();
        ingress.acked_now.set(ingress.acked_now.get() + count);
        ends.bell.announce_sleep();
        if ends.acks.borrow().is_empty() {
            ends.acked.notified().await;
        }
        ends.bell.awake();
    }
}

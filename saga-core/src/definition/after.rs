use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::record::Payload;

/// A step of a saga that is being built, typed by what it returns. [`step_after`](super::SagaBuilder::step_after) takes it.
pub struct StepRef<Output> {
    /// Which builder made it: a handle of another builder names nothing here.
    pub(super) builder: u64,
    pub(super) at: usize,
    pub(super) contract: &'static str,
    pub(super) output: PhantomData<fn() -> Output>,
}

/// What a step waits for: `&StepRef`, a tuple of up to twelve of them, or a slice `&[StepRef<_>]` of equal ones.
///
/// The input closure receives their outputs by value, in the same shape: one output, a tuple, or a `Vec`.
#[diagnostic::on_unimplemented(
    message = "a step cannot wait for `{Self}`",
    label = "needs step handles",
    note = "write `&a`, `(&a, &b)` with up to twelve handles, or `&handles[..]` for a slice of handles of one type"
)]
pub trait After {
    /// What the input closure receives.
    type Outputs;

    /// The steps, in order, without their types.
    fn handles(&self) -> Vec<StepRef<()>>;

    /// Reads what they returned, in the same order.
    ///
    /// # Errors
    /// When a payload is not the JSON of its output's type.
    fn read(outputs: &[&Payload]) -> Result<Self::Outputs, String>;
}

impl<Output: DeserializeOwned> After for &StepRef<Output> {
    type Outputs = Output;

    fn handles(&self) -> Vec<StepRef<()>> {
        vec![self.untyped()]
    }

    fn read(outputs: &[&Payload]) -> Result<Output, String> {
        decode(outputs[0])
    }
}

impl<Output: DeserializeOwned> After for &[StepRef<Output>] {
    type Outputs = Vec<Output>;

    fn handles(&self) -> Vec<StepRef<()>> {
        self.iter().map(StepRef::untyped).collect()
    }

    fn read(outputs: &[&Payload]) -> Result<Vec<Output>, String> {
        outputs.iter().map(|output| decode(output)).collect()
    }
}

macro_rules! tuples {
    ($($name:ident $at:tt),+) => {
        impl<$($name: DeserializeOwned),+> After for ($(&StepRef<$name>,)+) {
            type Outputs = ($($name,)+);

            fn handles(&self) -> Vec<StepRef<()>> {
                vec![$(self.$at.untyped()),+]
            }

            fn read(outputs: &[&Payload]) -> Result<Self::Outputs, String> {
                Ok(($(decode::<$name>(outputs[$at])?,)+))
            }
        }
    };
}

tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);

impl<Output> StepRef<Output> {
    pub(super) fn untyped(&self) -> StepRef<()> {
        StepRef { builder: self.builder, at: self.at, contract: self.contract, output: PhantomData }
    }
}

impl<Output> Clone for StepRef<Output> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Output> Copy for StepRef<Output> {}

impl<Output> fmt::Debug for StepRef<Output> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepRef")
            .field("contract", &self.contract)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// Reads a payload as a `T`, or says that it is not one.
pub(super) fn decode<T: DeserializeOwned>(payload: &Payload) -> Result<T, String> {
    payload.parse().map_err(|error| format!("it is not a {}: {error}", type_name::<T>()))
}

"""The tree in function style, here with the decorators that say the same as `Annotated`, in whichever order."""

from __future__ import annotations

from tasker_host import Succeeded, depends_on, inputs, step_handler

from tasker_examples.numbers import arithmetic


@step_handler("examples.dsl.tree_root")
@inputs("even_number")
def tree_root(even_number: object = None) -> Succeeded:
    return arithmetic.squares_start(even_number)


@step_handler("examples.dsl.tree_branch_left")
@depends_on(root="tree_root")
def tree_branch_left(root: int | None = None) -> Succeeded:
    return arithmetic.squares_next({"tree_root": root}, "branch")


@step_handler("examples.dsl.tree_branch_right")
@depends_on(root="tree_root")
def tree_branch_right(root: int | None = None) -> Succeeded:
    return arithmetic.squares_next({"tree_root": root}, "branch")


@step_handler("examples.dsl.tree_leaf_d")
@step_handler("examples.dsl.tree_leaf_e")
@depends_on(branch="tree_branch_left")
def tree_leaf_on_the_left(branch: int | None = None) -> Succeeded:
    return arithmetic.squares_next({"tree_branch_left": branch}, "leaf")


@step_handler("examples.dsl.tree_leaf_f")
@step_handler("examples.dsl.tree_leaf_g")
@depends_on(branch="tree_branch_right")
def tree_leaf_on_the_right(branch: int | None = None) -> Succeeded:
    return arithmetic.squares_next({"tree_branch_right": branch}, "leaf")


@step_handler("examples.dsl.tree_final_convergence")
@depends_on(d="tree_leaf_d", e="tree_leaf_e", f="tree_leaf_f", g="tree_leaf_g")
@inputs("even_number")
def tree_final_convergence(
    d: int | None = None,
    e: int | None = None,
    f: int | None = None,
    g: int | None = None,
    even_number: object = None,
) -> Succeeded:
    leaves = {"tree_leaf_d": d, "tree_leaf_e": e, "tree_leaf_f": f, "tree_leaf_g": g}
    return arithmetic.squares_next(leaves, "convergence", verify=(even_number, 64))


HANDLERS = (
    tree_root,
    tree_branch_left,
    tree_branch_right,
    tree_leaf_on_the_left,
    tree_leaf_on_the_right,
    tree_final_convergence,
)
